"""Words as they are compared: without case, accents, spaces and punctuation, and forgiving slips of the finger."""

import functools
import re
import unicodedata
from collections.abc import Sequence

NEAR = 0.8  # what a word counts that is there but for a slip
FORGIVING_CHARS_MIN = 4  # shorter words must be exact
LONG_CHARS_MIN = 8
PLACES_MAX = 64  # looked at for one piece of a word in one text
STOP_WORDS = frozenset(
    word
    for line in (
        "a an and are as at be but by do for from had has have he her his how i if in into is it its just like me meme",
        "my no not of on or our she so that the their them then there they this to too up was we were what when where",
        "which who why will with you your",
        "der die das und ein eine ist ich nicht el la los las un una y es de en que le les et une est je pas",
    )
    for word in line.split()
)


@functools.lru_cache(maxsize=4096)
def fold(text: str) -> str:
    """Case and accents gone: `CAFÉ` and `cafe` are one (compatibility caseless matching, Unicode 3.13, D146)."""
    for _ in range(2):
        text = unicodedata.normalize("NFKD", text.casefold())
    return "".join(c for c in text if not unicodedata.combining(c))


def squeeze(text: str) -> str:
    """Folded, letters and digits only. OCR glues words and quotes are typed from memory, so spaces say nothing."""
    return "".join(filter(str.isalnum, fold(text)))


def content_words(query: str) -> list[str]:
    """The folded words of a query that carry meaning, each once; all of them if none does."""
    words = list(dict.fromkeys(re.findall(r"[^\W_]+", fold(re.sub(r"['\u2019]", "", query)))))
    return [word for word in words if word not in STOP_WORDS] or words


def trigrams(words: Sequence[str]) -> list[str]:
    """All runs of three letters in the words, each once."""
    return list(dict.fromkeys(word[i : i + 3] for word in words for i in range(len(word) - 2)))


def presence(word: str, squeezed: str) -> float:
    """1 if the word is in the text, NEAR if it is but for one slip (two in a long word), else 0."""
    if word in squeezed:
        return 1.0
    return NEAR if len(word) >= FORGIVING_CHARS_MIN and _misspelt(word).is_in(squeezed) else 0.0


class _Misspelt:
    """A word as it may be typed: with one slip, or two in a long word; swapped neighbours are one slip."""

    def __init__(self, word: str) -> None:
        self._size = len(word)
        self._slips = 1 if len(word) < LONG_CHARS_MIN else 2
        piece = len(word) // (self._slips + 1)
        self._pieces = [(start, word[start : start + piece]) for start in range(0, piece * (self._slips + 1), piece)]
        self._swapped = [word[: at - 1] + word[at] + word[at - 1] + word[at + 1 :] for at, _ in self._pieces[1:]]
        self._places: dict[str, int] = {}  # of each letter in the word, one bit each
        for at, letter in enumerate(word):
            self._places[letter] = self._places.get(letter, 0) | (1 << at)

    def is_in(self, text: str) -> bool:
        """Whether some part of the text is the word but for its slips.

        Of slips + 1 pieces of the word, one is then in the text unchanged; only the places where that is so are looked
        at. Swapped neighbours may spoil two pieces with one slip, so swaps between pieces are tried by themselves.
        """
        for swapped in self._swapped:
            if swapped in text:
                return True
        for start, piece in self._pieces:
            place, places = text.find(piece), 0
            while place >= 0 and places < PLACES_MAX:
                begin = place - start
                if self._is_within(text[max(0, begin - self._slips) : begin + self._size + self._slips]):
                    return True
                place, places = text.find(piece, place + 1), places + 1
        return False

    def _is_within(self, text: str) -> bool:
        """Whether so few edits turn the word into some part of the text.

        A column of the table of edits is kept as the differences between its neighbours, one bit each (Myers 1999;
        with swaps, Hyyrö 2003): this is done thousands of times for one search.
        """
        # `up` and `down`: one more or fewer than the letter before; `same`: as many as one letter earlier in both.
        last, whole = 1 << (self._size - 1), (1 << self._size) - 1
        up, down, same, before, edits = whole, 0, 0, 0, self._size
        for letter in text:
            here = self._places.get(letter, 0)
            swapped = ((~same & here) << 1) & before
            same = (((here & up) + up) ^ up) | here | down | swapped
            more, fewer = down | ~(same | up), same & up
            edits += bool(more & last) - bool(fewer & last)
            if edits <= self._slips:
                return True
            more, fewer = more << 1, fewer << 1
            up, down = (fewer | ~(same | more)) & whole, same & more & whole
            before = here
        return False


_misspelt = functools.lru_cache(maxsize=256)(_Misspelt)
