"""Text normalization and fuzzy word matching: ignores case, accents, spaces, punctuation and small typos."""

import functools
import re
import unicodedata
from collections.abc import Iterable, Sequence

from sploot_server.domain.stop_words import STOP_WORDS

FUZZY_MATCH_SCORE = 0.8  # the score of a word that matches with edits
FUZZY_CHARS_MIN = 4  # shorter words must match exactly
TWO_EDITS_CHARS_MIN = 8
FRAGMENT_CHARS_MAX = 2
OCCURRENCES_MAX = 64  # of one piece of a word, compared in one text


@functools.lru_cache(maxsize=4096)
def fold_text(text: str) -> str:
    """Remove case and accents: `CAFÉ` becomes `cafe` (compatibility caseless matching, Unicode 3.13, D146)."""
    # Twice, because NFKD can produce letters that case-fold again.
    for _ in range(2):
        text = unicodedata.normalize("NFKD", text.casefold())
    return "".join(c for c in text if not unicodedata.combining(c))


def normalize(text: str) -> str:
    """Return the folded letters and digits. OCR joins words and users misremember spaces, so spaces do not count."""
    return "".join(filter(str.isalnum, fold_text(text)))


def searchable_text(text: str, names: Iterable[str]) -> str:
    """Return the normalized text of an asset and its names, one a line: no word matches across two of them."""
    lines = map(normalize, (text, *names))
    return "\n".join(line for line in lines if line)


def split_words(text: str) -> list[str]:
    """Return the distinct folded words of a text."""
    return list(dict.fromkeys(re.findall(r"[^\W_]+", fold_text(re.sub(r"['\u2019]", "", text)))))


def content_words(query: str) -> list[str]:
    """Return the distinct folded words of a query, without stop words and fragments unless nothing else remains.

    A fragment of one or two letters occurs in every other text whose spaces are removed.
    """
    words = split_words(query)
    meant = [word for word in words if word not in STOP_WORDS]
    return [word for word in meant if len(word) > FRAGMENT_CHARS_MAX or not word.isascii()] or meant or words


def trigrams(words: Sequence[str]) -> list[str]:
    """Return the distinct trigrams of the words."""
    return list(dict.fromkeys(word[i : i + 3] for word in words for i in range(len(word) - 2)))


def match_score(word: str, normalized: str) -> float:
    """Return 1 for an exact match, FUZZY_MATCH_SCORE for a match within one edit (two in a long word), else 0."""
    if word in normalized:
        return 1.0
    return FUZZY_MATCH_SCORE if len(word) >= FUZZY_CHARS_MIN and _fuzzy_word(word).matches(normalized) else 0.0


class _FuzzyWord:
    """A word that matches with up to one edit, or two if it is long; swapping two neighbours is one edit."""

    def __init__(self, word: str) -> None:
        self._size = len(word)
        self._edits_max = 1 if len(word) < TWO_EDITS_CHARS_MIN else 2
        piece = len(word) // (self._edits_max + 1)
        self._pieces = [
            (start, word[start : start + piece]) for start in range(0, piece * (self._edits_max + 1), piece)
        ]
        self._transpositions = [
            word[: index - 1] + word[index] + word[index - 1] + word[index + 1 :] for index, _ in self._pieces[1:]
        ]
        self._letter_masks: dict[str, int] = {}  # by letter: one bit for each of its positions in the word
        for index, letter in enumerate(word):
            self._letter_masks[letter] = self._letter_masks.get(letter, 0) | (1 << index)

    def matches(self, text: str) -> bool:
        """Return whether some substring of the text is within the allowed number of edits of the word.

        If so, at least one of edits + 1 pieces of the word occurs in the text unchanged (pigeonhole principle), so only
        windows around such occurrences are compared. One transposition across a border changes two pieces, so the
        transpositions between pieces are searched separately.
        """
        for swapped in self._transpositions:
            if swapped in text:
                return True
        for start, piece in self._pieces:
            index, occurrences = text.find(piece), 0
            while index >= 0 and occurrences < OCCURRENCES_MAX:
                begin = index - start
                if self._matches_window(text[max(0, begin - self._edits_max) : begin + self._size + self._edits_max]):
                    return True
                index, occurrences = text.find(piece, index + 1), occurrences + 1
        return False

    def _matches_window(self, text: str) -> bool:
        """Return whether some substring of the text is within the allowed number of edits of the word.

        Bit-parallel approximate matching (Myers 1999; transpositions: Hyyrö 2003). One search makes thousands of these
        calls, so a column of the edit-distance matrix is encoded as the differences of adjacent cells, one bit each.
        """
        # `up`, `down`: the cell is one more, one less than the cell above; `same`: equal to the cell up and left.
        last_bit, all_bits = 1 << (self._size - 1), (1 << self._size) - 1
        up, down, same, before, edits = all_bits, 0, 0, 0, self._size
        for letter in text:
            mask = self._letter_masks.get(letter, 0)
            swapped = ((~same & mask) << 1) & before
            same = (((mask & up) + up) ^ up) | mask | down | swapped
            more, fewer = down | ~(same | up), same & up
            edits += bool(more & last_bit) - bool(fewer & last_bit)
            if edits <= self._edits_max:
                return True
            more, fewer = more << 1, fewer << 1
            up, down = (fewer | ~(same | more)) & all_bits, same & more & all_bits
            before = mask
        return False


_fuzzy_word = functools.lru_cache(maxsize=256)(_FuzzyWord)
