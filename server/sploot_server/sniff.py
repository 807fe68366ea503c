"""What kind of picture a file is, from its first bytes. Names and declared types are not evidence."""

SNIFF_BYTES = 16  # enough for every signature below

EXTENSIONS = {
    "image/jpeg": "jpg",
    "image/png": "png",
    "image/webp": "webp",
    "image/gif": "gif",
    "image/avif": "avif",
}
"""Every type that can be recognised, with the extension its originals are given."""


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
    if head[4:12] in (b"ftypavif", b"ftypavis"):
        return "image/avif"
    return None
