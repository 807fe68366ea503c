"""MIME type detection by content, never by file name, and detection of truncated files."""

HEAD_BYTES = 1_024
TAIL_BYTES = 4_096

FileType = tuple[str, str]  # MIME type, file name extension

_SIGNATURES: tuple[tuple[bytes, FileType], ...] = (
    (b"\xff\xd8\xff", ("image/jpeg", "jpg")),
    (b"\x89PNG\r\n\x1a\n", ("image/png", "png")),
    (b"GIF87a", ("image/gif", "gif")),
    (b"GIF89a", ("image/gif", "gif")),
    (b"BM", ("image/bmp", "bmp")),
    (b"II*\0", ("image/tiff", "tif")),
    (b"MM\0*", ("image/tiff", "tif")),
    (b"II+\0", ("image/tiff", "tif")),
    (b"MM\0+", ("image/tiff", "tif")),
    (b"\0\0\1\0", ("image/x-icon", "ico")),
    (b"8BPS", ("image/vnd.adobe.photoshop", "psd")),
    (b"\xff\x0a", ("image/jxl", "jxl")),
    (b"\0\0\0\x0cJXL \r\n\x87\n", ("image/jxl", "jxl")),
    (b"\0\0\0\x0cjP  \r\n\x87\n", ("image/jp2", "jp2")),
    (b"qoif", ("image/qoi", "qoi")),
    (b"\x1aE\xdf\xa3", ("video/webm", "webm")),
    (b"FLV\1", ("video/x-flv", "flv")),
    (b"0&\xb2u\x8ef\xcf\x11", ("video/x-ms-wmv", "wmv")),
    (b"\0\0\1\xba", ("video/mpeg", "mpg")),
    (b"\0\0\1\xb3", ("video/mpeg", "mpg")),
)
_RIFF: dict[bytes, FileType] = {b"WEBP": ("image/webp", "webp"), b"AVI ": ("video/x-msvideo", "avi")}
_BRANDS: dict[bytes, FileType] = {  # ISO 14496-12: the major brand after `ftyp`; any other brand is a video
    b"avif": ("image/avif", "avif"),
    b"avis": ("image/avif", "avif"),
    b"heic": ("image/heic", "heic"),
    b"heix": ("image/heic", "heic"),
    b"hevc": ("image/heic", "heic"),
    b"hevx": ("image/heic", "heic"),
    b"mif1": ("image/heif", "heif"),
    b"msf1": ("image/heif", "heif"),
    b"crx ": ("image/x-canon-cr3", "cr3"),
    b"qt  ": ("video/quicktime", "mov"),
}
_AUDIO_BRANDS = frozenset({b"M4A ", b"M4B ", b"M4P ", b"F4A ", b"F4B "})


def sniff(head: bytes) -> FileType | None:
    """Return MIME type and extension of the image or video that starts with `head` (HEAD_BYTES suffice), or None."""
    if head[:4] == b"RIFF":
        return _RIFF.get(head[8:12])
    if head[4:8] == b"ftyp":
        brand = head[8:12]
        return None if brand in _AUDIO_BRANDS else _BRANDS.get(brand, ("video/mp4", "mp4"))
    for signature, kind in _SIGNATURES:
        if head.startswith(signature):
            return kind if signature != b"BM" or _is_bitmap(head) else None
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    return ("image/svg+xml", "svg") if text[:1] == b"<" and b"<svg" in text.lower() else None


def is_complete(mime: str, tail: bytes, *, head: bytes, size: int) -> bool:
    """Return False when the file looks truncated; `tail` is its last TAIL_BYTES.

    Use this only to delay a file that may still be written. Some cameras append data after the end marker, so a file
    without a marker in its tail may still be complete.
    """
    match mime:
        case "image/jpeg":
            return b"\xff\xd9" in tail
        case "image/png":
            return b"IEND" in tail
        case "image/gif":
            return tail.rstrip(b"\0").endswith(b";")
        case "image/webp":
            return int.from_bytes(head[4:8], "little") + 8 <= size
        case _:
            return True


def _is_bitmap(head: bytes) -> bool:
    """Return True when the second header has a valid size, 12 to 124 bytes: `BM` alone also starts many texts."""
    return len(head) >= 18 and 12 <= int.from_bytes(head[14:18], "little") <= 124
