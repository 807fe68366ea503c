"""What kind of picture or film a file is, from its first bytes. Names and declared types are not evidence."""

SNIFF_BYTES = 16  # enough for every signature below

EXTENSIONS = {
    "image/jpeg": "jpg",
    "image/png": "png",
    "image/webp": "webp",
    "image/gif": "gif",
    "image/avif": "avif",
    "image/heic": "heic",
    "image/heif": "heif",
    "video/mp4": "mp4",
    "video/quicktime": "mov",
    "video/webm": "webm",
}
"""Every type that can be recognised, with the extension its originals are given."""

BRANDS = {
    b"avif": "image/avif",
    b"avis": "image/avif",
    b"heic": "image/heic",
    b"heix": "image/heic",
    b"hevc": "image/heic",
    b"hevx": "image/heic",
    b"mif1": "image/heif",
    b"msf1": "image/heif",
    b"qt  ": "video/quicktime",
}
"""What follows `ftyp` in the box that an ISO media file (ISO 14496-12) begins with. Any other brand is a film."""
NO_FILM = frozenset({b"M4A ", b"M4B ", b"M4P ", b"F4A ", b"F4B ", b"crx "})  # sound, and raw pictures of a camera


def sniff(head: bytes) -> str | None:
    """The media type of a file that starts with `head` (at least SNIFF_BYTES, or the whole file), else None."""
    if head.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "image/webp"
    if head.startswith(b"\x1aE\xdf\xa3"):
        return "video/webm"
    if head[4:8] == b"ftyp" and head[8:12] not in NO_FILM:
        return BRANDS.get(head[8:12], "video/mp4")
    return None
