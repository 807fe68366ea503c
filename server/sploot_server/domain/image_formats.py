"""Which formats can be decoded, and the search text of files that cannot: the words of their names."""

import re
from collections.abc import Collection, Mapping
from importlib.util import find_spec
from pathlib import PurePath

from sploot_server.domain.sniff import EXTENSIONS

HEIF_TYPES = frozenset({"image/heic", "image/heif"})
VIDEO_TYPES = frozenset({"video/mp4", "video/webm"})
HAS_AVIF = find_spec("PIL") is not None and find_spec("PIL._avif") is not None
HAS_HEIF = find_spec("pi_heif") is not None  # the extra `heif`
HAS_VIDEO = find_spec("av") is not None  # the extra `video`
GENERATED_NAME = re.compile(r"[0-9a-f]{8,}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
WORD_SEPARATORS = re.compile(r"[\s_.+-]+")


def is_readable(mime: str) -> bool:
    """Return whether files of this type can be decoded."""
    if mime in VIDEO_TYPES:
        return HAS_VIDEO
    return mime.startswith("image/") and (mime not in HEIF_TYPES or HAS_HEIF) and (mime != "image/avif" or HAS_AVIF)


def missing_decoders(accepted: Collection[str]) -> Mapping[str, str]:
    """Return the extra of this package that brings the decoder of each type that lacks one.

    A library that accepts a choice of types instead of all that can be decoded lacks none.
    """
    if set(accepted) != set(readable_types()):
        return {}
    extras = {**dict.fromkeys(HEIF_TYPES, "heif"), **dict.fromkeys(VIDEO_TYPES, "video")}
    return {mime: extra for mime, extra in sorted(extras.items()) if not is_readable(mime)}


def readable_types() -> tuple[str, ...]:
    """Return the types that can be decoded: those that a library accepts by default."""
    return tuple(mime for mime in EXTENSIONS if is_readable(mime))


def pillow_formats() -> tuple[str, ...]:
    """Return the formats that Pillow may open."""
    # Pillow registers some fifty decoders by default. Uploads are untrusted, so each unused one is attack surface.
    formats = ("JPEG", "PNG", "WEBP", "GIF", "AVIF")
    if not HAS_HEIF:
        return formats
    import pi_heif  # type: ignore[import-untyped]  # noqa: PLC0415 - optional, and without types

    pi_heif.register_heif_opener()
    return (*formats, "HEIF")


def filename_words(filename: str) -> str:
    """Return the words of a file name without its extension; '' for machine-generated names."""
    stem = PurePath(filename).stem
    return "" if GENERATED_NAME.fullmatch(stem) else WORD_SEPARATORS.sub(" ", stem).strip()
