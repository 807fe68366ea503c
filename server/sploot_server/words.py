"""Words as they are compared: without case, accents, spaces and punctuation, and forgiving slips of the finger."""

import functools
import re
import unicodedata
from collections.abc import Sequence

NEAR = 0.8  # what a word counts that is there but for a slip
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
    slips = 0 if len(word) < 4 else 1 if len(word) < 8 else 2
    return NEAR if slips and _is_near(word, squeezed, slips) else 0.0


def _is_near(word: str, text: str, slips: int) -> bool:
    """Whether some part of the text is within `slips` edits of the word.

    Of slips + 1 pieces of the word, one is then in the text unchanged; only the places where that is so are looked at.
    Swapped neighbours may spoil two pieces with one slip, so swaps between pieces are tried by themselves.
    """
    size = len(word) // (slips + 1)
    for start in range(0, size * (slips + 1), size):
        if start and word[: start - 1] + word[start] + word[start - 1] + word[start + 1 :] in text:
            return True
        piece = word[start : start + size]
        place, places = text.find(piece), 0
        while place >= 0 and places < PLACES_MAX:
            around = text[max(0, place - start - slips) : place - start + len(word) + slips]
            if _distance_within(word, around) <= slips:
                return True
            place, places = text.find(piece, place + 1), places + 1
    return False


def _distance_within(word: str, text: str) -> int:
    """The fewest edits that turn `word` into some part of `text` (Sellers 1980); swapped neighbours are one edit."""
    before: list[int] = []
    row = [0] * (len(text) + 1)
    for i, letter in enumerate(word, 1):
        last_but_one, before, row = before, row, [i]
        for j, other in enumerate(text, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != other))
            if i > 1 and j > 1 and letter == text[j - 2] and word[i - 2] == other:
                cost = min(cost, last_but_one[j - 2] + 1)
            row.append(cost)
    return min(row)
