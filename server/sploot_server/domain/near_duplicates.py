"""Near-duplicate detection: images that differ only by re-encoding, resizing, slight cropping or a border.

The dHash of an image is a difference hash (Krawetz, "Kind of Like That", 2013) of 128 bits. Shrunk to 9 x 8 grey
levels, the image yields one bit per level: is it darker than its right neighbour? Shrunk to 8 x 9: is it darker than
the one below? Many memes share a template and hence a dHash, so their texts must match as well. A dHash knows neither
colours nor proportions, so the mean colours of the quarters and the aspect ratios must match, too. All of them describe
the image without its borders (`inference/trim_borders.py`). If the words match and the dHash does not, the features of
both images decide (`template_index.show_same_picture`).
"""

import re
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sploot_server.domain.text_match import fold_text, match_score, normalize, split_words

DHASH_SIDE = 8
DHASH_BITS = 2 * DHASH_SIDE * DHASH_SIDE
BANDS = 12
WORDS_BAND = BANDS << 16
# Differing bits. Re-encoding and resizing change up to 8, cropping a twentieth 5 to 25; different images have 32 to 90.
DISTANCE_MAX = 20
DISTANCE_WITHOUT_TEXT_MAX = 8  # bits; without text, the dHash is the only evidence
UNIFORM_BITS_MAX = 16
COLOURS_SIDE = 2  # the colours are the means of 2 x 2 quarters
COLOUR_DISTANCE_MAX = 32  # of 255, in any channel of any quarter; another brightness changes up to 25
COLOUR_DISTANCE_WITHOUT_TEXT_MAX = 12  # re-encoding and resizing change up to 3
ASPECT_FACTOR_MAX = 1.1
WORD_CHARS_MIN = 3  # OCR finds shorter words in specks, in one copy and not in the next
FUZZY_WORD_CHARS_MIN = 6
DOUBTFUL_MAX = 8
CREDIT = re.compile(
    r"https?://\S+|www\.\S+|(?<!\w)@\w[\w.]*|(?<!\w)[ur]/\w+|\b[\w-]+\.(?:com|net|org|io|me|tv|gg|ly|app)\b(?:/\S*)?",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Look:
    """What near-duplicates have in common.

    `colours` holds the mean red, green and blue of each quarter, in rows; `aspect_ratio` is width by height; `text` is
    as recognized.
    """

    dhash: bytes
    colours: bytes
    aspect_ratio: float
    text: str


def compute_dhash(horizontal: bytes, vertical: bytes) -> bytes:
    """Return the dHash, DHASH_BITS / 8 bytes, from grey levels of size SIDE + 1 x SIDE and SIDE x SIDE + 1."""
    bits = [
        horizontal[y * (DHASH_SIDE + 1) + x] < horizontal[y * (DHASH_SIDE + 1) + x + 1]
        for y in range(DHASH_SIDE)
        for x in range(DHASH_SIDE)
    ]
    bits += [vertical[index] < vertical[index + DHASH_SIDE] for index in range(DHASH_SIDE * DHASH_SIDE)]
    return int("".join("01"[each] for each in bits), 2).to_bytes(DHASH_BITS // 8, "big")


def bands(look: Look) -> Sequence[int]:
    """Return the bands of an image, to be indexed: near-duplicates share at least one, other images rarely do.

    A band is a run of the dHash's bits, prefixed by its position. DISTANCE_MAX differing bits could touch all BANDS,
    but they come in clusters and leave some bands unchanged. One more band, WORDS_BAND and above, is that of the words.
    """
    bits = int.from_bytes(look.dhash, "big")
    edges = [band * DHASH_BITS // BANDS for band in range(BANDS + 1)]
    runs = [band << 16 | (bits >> edges[band]) % (1 << edges[band + 1] - edges[band]) for band in range(BANDS)]
    words = normalize(_without_credits(look.text))
    return [*runs, WORDS_BAND | zlib.crc32(words.encode()) & 0xFFFF] if words else runs


def hamming_distance(dhash: bytes, other: bytes) -> int:
    return (int.from_bytes(dhash, "big") ^ int.from_bytes(other, "big")).bit_count()


def is_near_duplicate(one: Look, other: Look) -> bool:
    """Return whether two images are near-duplicates by their dHashes, colours, proportions and words."""
    distance = hamming_distance(one.dhash, other.dhash)
    colour_distance = max((abs(a - b) for a, b in zip(one.colours, other.colours, strict=True)), default=0)
    ratios = sorted((one.aspect_ratio, other.aspect_ratio))
    if distance > DISTANCE_MAX or colour_distance > COLOUR_DISTANCE_MAX or ratios[1] > ratios[0] * ASPECT_FACTOR_MAX:
        return False
    if not _significant_words(one.text) and not _significant_words(other.text):
        return (
            distance <= DISTANCE_WITHOUT_TEXT_MAX
            and colour_distance <= COLOUR_DISTANCE_WITHOUT_TEXT_MAX
            and not _is_uniform(one.dhash)
        )
    return _have_same_words(one.text, other.text)


def choose_near_duplicate(look: Look, candidates: Iterable[Any]) -> tuple[Any | None, Sequence[Any]]:
    """Return the nearest near-duplicate among `candidates`, rows of both databases, if there is one.

    Also return the candidates of which only the features can tell, at most DOUBTFUL_MAX; none if they are not needed.
    """
    ranked = sorted(candidates, key=lambda other: hamming_distance(look.dhash, other["dhash"]))
    nearest = next((other for other in ranked if is_near_duplicate(look, _look_of_row(other))), None)
    if nearest is not None or not _significant_words(look.text):
        return nearest, []
    return None, [other for other in ranked if _have_same_words(look.text, other["text"] or "")][:DOUBTFUL_MAX]


def _look_of_row(row: Any) -> Look:
    return Look(row["dhash"], row["colours"], row["aspect_ratio"], row["text"] or "")


def _have_same_words(text: str, other: str) -> bool:
    return (
        _numbers(text) == _numbers(other)
        and _all_words_in(_significant_words(text), other)
        and _all_words_in(_significant_words(other), text)
    )


def _is_uniform(dhash: bytes) -> bool:
    """Return whether the image shows almost nothing: the dHash of a plain area of any colour has few set bits."""
    return int.from_bytes(dhash, "big").bit_count() < UNIFORM_BITS_MAX


def _without_credits(text: str) -> str:
    """Remove the handles and web addresses that reposts add."""
    return CREDIT.sub(" ", text)


def _significant_words(text: str) -> Sequence[str]:
    return [word for word in split_words(_without_credits(text)) if len(word) >= WORD_CHARS_MIN]


def _numbers(text: str) -> set[str]:
    return set(re.findall(r"\d+", fold_text(_without_credits(text))))


def _all_words_in(words: Sequence[str], text: str) -> bool:
    """Return whether the text, without credits, contains all words.

    Long words may differ slightly, because OCR misreads poorer copies; a short word that differs is another word.
    """
    normalized = normalize(_without_credits(text))
    return all(
        word in normalized or (len(word) >= FUZZY_WORD_CHARS_MIN and match_score(word, normalized)) for word in words
    )
