"""Near-duplicate detection: images that differ only by re-encoding, resizing or slight cropping.

The dHash of an image is a difference hash (Krawetz, "Kind of Like That", 2013) of 128 bits. Shrunk to 9 x 8 grey
levels, the image yields one bit per level: is it darker than its right neighbour? Shrunk to 8 x 9: is it darker than
the one below? Many memes share a template and hence a dHash, so their texts must match as well.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from sploot_server.domain.text_match import content_words, fold_text, match_score, normalize

DHASH_SIDE = 8
DHASH_BITS = 2 * DHASH_SIDE * DHASH_SIDE
BANDS = 12
# Differing bits. Re-encoding and resizing change up to 8, cropping a twentieth 5 to 25; different images have 32 to 90.
DISTANCE_MAX = 20
DISTANCE_WITHOUT_TEXT_MAX = 8  # bits; without text, the dHash is the only evidence
UNIFORM_BITS_MAX = 16
WORD_CHARS_MIN = 3  # OCR finds shorter words in specks, in one copy and not in the next
FUZZY_WORD_CHARS_MIN = 6


def compute_dhash(horizontal: bytes, vertical: bytes) -> bytes:
    """Return the dHash, DHASH_BITS / 8 bytes, from grey levels of size SIDE + 1 x SIDE and SIDE x SIDE + 1."""
    bits = [
        horizontal[y * (DHASH_SIDE + 1) + x] < horizontal[y * (DHASH_SIDE + 1) + x + 1]
        for y in range(DHASH_SIDE)
        for x in range(DHASH_SIDE)
    ]
    bits += [vertical[index] < vertical[index + DHASH_SIDE] for index in range(DHASH_SIDE * DHASH_SIDE)]
    return int("".join("01"[each] for each in bits), 2).to_bytes(DHASH_BITS // 8, "big")


def bands(dhash: bytes) -> Sequence[int]:
    """Return the bands of a dHash, to be indexed: near-duplicates share at least one, other images rarely do.

    A band is a run of the dHash's bits, prefixed by its position. DISTANCE_MAX differing bits could touch all BANDS,
    but they come in clusters and leave some bands unchanged.
    """
    bits = int.from_bytes(dhash, "big")
    edges = [band * DHASH_BITS // BANDS for band in range(BANDS + 1)]
    return [band << 16 | (bits >> edges[band]) % (1 << edges[band + 1] - edges[band]) for band in range(BANDS)]


def hamming_distance(dhash: bytes, other: bytes) -> int:
    return (int.from_bytes(dhash, "big") ^ int.from_bytes(other, "big")).bit_count()


def is_near_duplicate(dhash: bytes, text: str, other_dhash: bytes, other_text: str) -> bool:
    """Return whether two images, with their recognized texts, are near-duplicates."""
    distance = hamming_distance(dhash, other_dhash)
    if distance > DISTANCE_MAX:
        return False
    words, other_words = _significant_words(text), _significant_words(other_text)
    if not words and not other_words:
        return distance <= DISTANCE_WITHOUT_TEXT_MAX and not _is_uniform(dhash)
    return (
        _numbers(text) == _numbers(other_text) and _all_words_in(words, other_text) and _all_words_in(other_words, text)
    )


def choose_duplicate_group(row: int, dhash: bytes, text: str, candidates: Iterable[Any]) -> int:
    """Return the group of the nearest near-duplicate among `candidates`, rows of both databases; `row` if none is."""
    near_duplicates = [
        other for other in candidates if is_near_duplicate(dhash, text, other["dhash"], other["text"] or "")
    ]
    nearest = min(near_duplicates, key=lambda other: hamming_distance(dhash, other["dhash"]), default=None)
    return row if nearest is None else int(nearest["duplicate_group"])


def _is_uniform(dhash: bytes) -> bool:
    """Return whether the image shows almost nothing: the dHash of a plain area of any colour has few set bits."""
    return int.from_bytes(dhash, "big").bit_count() < UNIFORM_BITS_MAX


def _significant_words(text: str) -> Sequence[str]:
    return [word for word in content_words(text) if len(word) >= WORD_CHARS_MIN]


def _numbers(text: str) -> set[str]:
    return set(re.findall(r"\d+", fold_text(text)))


def _all_words_in(words: Sequence[str], text: str) -> bool:
    """Return whether the text contains all words.

    Long words may differ slightly, because OCR misreads poorer copies; a short word that differs is another word.
    """
    normalized = normalize(text)
    return all(
        word in normalized or (len(word) >= FUZZY_WORD_CHARS_MIN and match_score(word, normalized)) for word in words
    )
