"""Which image or video a file is, by its bytes and never by its name; and whether its end has been written yet."""

HEAD_BYTES = 1_024
TAIL_BYTES = 4_096

Kind = tuple[str, str]  # MIME type, file name extension

_BEGINNINGS: tuple[tuple[bytes, Kind], ...] = (
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
_RIFF: dict[bytes, Kind] = {b"WEBP": ("image/webp", "webp"), b"AVI ": ("video/x-msvideo", "avi")}
_BRANDS: dict[bytes, Kind] = {  # ISO 14496-12: the major brand behind `ftyp`; any other one is a film
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
_SOUND = frozenset({b"M4A ", b"M4B ", b"M4P ", b"F4A ", b"F4B "})


def sniff(head: bytes) -> Kind | None:
    """MIME type and extension of the image or video that begins with `head` (HEAD_BYTES are enough), or None."""
    if head[:4] == b"RIFF":
        return _RIFF.get(head[8:12])
    if head[4:8] == b"ftyp":
        brand = head[8:12]
        return None if brand in _SOUND else _BRANDS.get(brand, ("video/mp4", "mp4"))
    for beginning, kind in _BEGINNINGS:
        if head.startswith(beginning):
            return kind if beginning != b"BM" or _is_bitmap(head) else None
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    return ("image/svg+xml", "svg") if text[:1] == b"<" and b"<svg" in text.lower() else None


def has_end(mime: str, tail: bytes, *, head: bytes, size: int) -> bool:
    """Whether the end of the file is there, as far as its type tells; `tail` are its last TAIL_BYTES.

    Good for one thing: not to send a file that is still being written. Some cameras write more behind the end mark, so
    a file without one in its tail may be whole all the same.
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
    """Two letters prove little: a BMP also says how large its second header is (12 to 124 bytes)."""
    return len(head) >= 18 and 12 <= int.from_bytes(head[14:18], "little") <= 124
