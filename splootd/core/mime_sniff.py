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
BRANDS = {
    brand: mime
    for mime, brands in {
        "image/avif": (b"avif", b"avis"),
        "image/heic": (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"),
        "image/heif": (
            *(b"mif1", b"mif2", b"mif3", b"msf1", b"miaf", b"j2ki", b"j2is", b"jpeg", b"jpgs", b"vvic", b"vvis"),
            *(b"evbi", b"evbs"),
        ),
        "video/quicktime": (b"qt  ",),
        "video/mp4": (
            *(b"isom", b"iso2", b"iso3", b"iso4", b"iso5", b"iso6", b"iso7", b"iso8", b"iso9", b"mp41", b"mp42"),
            *(b"avc1", b"dash", b"f4v ", b"F4V ", b"M4V ", b"M4VH", b"M4VP", b"mmp4", b"MSNV", b"XAVC", b"3gp4"),
            *(b"3gp5", b"3gp6", b"3gp7", b"3gp8", b"3gp9", b"3ge6", b"3gg6", b"3g2a", b"3g2b", b"3g2c", b"av01"),
        ),
    }.items()
    for brand in brands
}
"""What the brands of an ISO media file mean (ISO 14496-12, ISO 23008-12). `image/heif` is an image of any codec."""
_EXTENSIONS = {"video/quicktime": "mov"}  # for other types of BRANDS, the second half of the type
_OTHER_BRANDS: dict[bytes, FileType | None] = {
    b"crx ": ("image/x-canon-cr3", "cr3"),
    **dict.fromkeys((b"M4A ", b"M4B ", b"M4P ", b"F4A ", b"F4B ")),  # audio
}


def sniff(head: bytes) -> FileType | None:
    """Return MIME type and extension of the image or video that starts with `head` (HEAD_BYTES suffice), or None."""
    if head[:4] == b"RIFF":
        return _RIFF.get(head[8:12])
    if head[4:8] == b"ftyp":
        if head[8:12] in _OTHER_BRANDS:
            return _OTHER_BRANDS[head[8:12]]
        mime = _sniff_brands(head)
        return None if mime is None else (mime, _EXTENSIONS.get(mime, mime.split("/")[1]))
    for signature, kind in _SIGNATURES:
        if head.startswith(signature):
            return kind if signature != b"BM" or _is_bitmap(head) else None
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    return ("image/svg+xml", "svg") if text[:1] == b"<" and b"<svg" in text.lower() else None


def _sniff_brands(head: bytes) -> str | None:
    """Return the type that the first known brand in the `ftyp` box means.

    The box holds the major brand, a version (in some files the brand of the codec), and compatible brands.
    """
    end = max(12, min(int.from_bytes(head[:4], "big"), len(head)))
    known = [BRANDS[brand] for start in range(8, end, 4) if (brand := head[start : start + 4]) in BRANDS]
    if known[:1] == ["image/heif"]:  # another brand may name the codec
        return next((mime for mime in known if mime in ("image/avif", "image/heic")), "image/heif")
    return known[0] if known else None


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
