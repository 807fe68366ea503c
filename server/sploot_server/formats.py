"""Which of the types that are kept can be looked into here, and what the others are found by: their names."""

import re
from importlib.util import find_spec
from pathlib import PurePath

HEIF = frozenset({"image/heic", "image/heif"})
HAS_HEIF = find_spec("pi_heif") is not None  # the extra `heif`
MEANINGLESS = re.compile(r"[0-9a-f]{8,}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
BETWEEN_WORDS = re.compile(r"[\s_.+-]+")


def is_readable(mime: str) -> bool:
    """Whether a file of this type can be decoded and read. Films cannot."""
    return mime.startswith("image/") and (mime not in HEIF or HAS_HEIF)


def pillow_formats() -> tuple[str, ...]:
    """What Pillow is to open, here and nowhere else: each of its decoders is another door for hostile files."""
    formats = ("JPEG", "PNG", "WEBP", "GIF", "AVIF")
    if not HAS_HEIF:
        return formats
    import pi_heif  # type: ignore[import-untyped]  # noqa: PLC0415 - optional, and without types

    pi_heif.register_heif_opener()
    return (*formats, "HEIF")


def words_of(filename: str) -> str:
    """The words in what a file is called, without its extension; '' for the names that machines give."""
    stem = PurePath(filename).stem
    return "" if MEANINGLESS.fullmatch(stem) else BETWEEN_WORDS.sub(" ", stem).strip()
