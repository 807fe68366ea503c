"""Whether two pictures are the same one: re-encoded, resized, cropped a little.

The look of a picture is a difference hash (Krawetz, "Kind of Like That", 2013) of 128 bits: of the picture shrunk to
9 x 8 grey levels whether each is darker than its right neighbour, and of it shrunk to 8 x 9 whether each is darker than
the one below. Memes share templates, so a look alone says little: the words must be the same too.
"""

import re
from collections.abc import Sequence

from sploot_server.words import content_words, fold, presence, squeeze

SIDE = 8
LOOK_BITS = 2 * SIDE * SIDE
BANDS = 12
DISTANCE_MAX = (
    20  # of LOOK_BITS. Re-encoding and resizing change up to 8, cropping a twentieth 5 to 25, others 32 to 90
)
DISTANCE_MAX_WORDLESS = 8  # where there are no words nothing but the look speaks for it
PLAIN_BITS = 16
WORD_MIN = 3  # letters; shorter ones come and go with specks that are read along
LONG_MIN = 6  # letters


def look_of(across: bytes, down: bytes) -> bytes:
    """The look of a picture, LOOK_BITS / 8 bytes, of its grey levels shrunk to SIDE + 1 x SIDE and SIDE x SIDE + 1."""
    rising = [across[y * (SIDE + 1) + x] < across[y * (SIDE + 1) + x + 1] for y in range(SIDE) for x in range(SIDE)]
    rising += [down[place] < down[place + SIDE] for place in range(SIDE * SIDE)]
    return int("".join("01"[each] for each in rising), 2).to_bytes(LOOK_BITS // 8, "big")


def bands(look: bytes) -> Sequence[int]:
    """Numbers of which two pictures that are alike have at least one in common, and others seldom: to be indexed by.

    Each is a stretch of the look and where it stands; DISTANCE_MAX changes, which come in clusters, spare some.
    """
    bits = int.from_bytes(look, "big")
    edges = [band * LOOK_BITS // BANDS for band in range(BANDS + 1)]
    return [band << 16 | (bits >> edges[band]) % (1 << edges[band + 1] - edges[band]) for band in range(BANDS)]


def distance(look: bytes, other: bytes) -> int:
    return (int.from_bytes(look, "big") ^ int.from_bytes(other, "big")).bit_count()


def alike(look: bytes, text: str, other_look: bytes, other_text: str) -> bool:
    """Whether two pictures, with what is written in them, are the same one."""
    apart = distance(look, other_look)
    if apart > DISTANCE_MAX:
        return False
    words, others = _words(text), _words(other_text)
    if not words and not others:
        return apart <= DISTANCE_MAX_WORDLESS and not _is_plain(look)
    return _numbers(text) == _numbers(other_text) and _are_in(words, other_text) and _are_in(others, text)


def _is_plain(look: bytes) -> bool:
    """Whether there is next to nothing to be seen, as in a picture of one colour, whichever that is."""
    return int.from_bytes(look, "big").bit_count() < PLAIN_BITS


def _words(text: str) -> Sequence[str]:
    return [word for word in content_words(text) if len(word) >= WORD_MIN]


def _numbers(text: str) -> set[str]:
    return set(re.findall(r"\d+", fold(text)))


def _are_in(words: Sequence[str], text: str) -> bool:
    """A slip in a long word is what recognition makes of a poorer copy; a short word with one is another word."""
    squeezed = squeeze(text)
    return all(word in squeezed or (len(word) >= LONG_MIN and presence(word, squeezed)) for word in words)
