"""Media type detection from the first bytes of a file. File names and declared types are not trusted."""

SNIFF_BYTES = 256  # enough for every signature below, and for the brands of an ISO media file

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
"""Every detectable type, with the file extension of its originals."""

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
OTHER_BRANDS = frozenset({b"M4A ", b"M4B ", b"M4P ", b"F4A ", b"F4B ", b"crx "})  # audio, and raw camera images


def sniff(head: bytes) -> str | None:
    """Return the media type of a file that starts with `head` (SNIFF_BYTES or the whole file), or None if unknown."""
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
    if head[4:8] == b"ftyp" and head[8:12] not in OTHER_BRANDS:
        return _sniff_brands(head)
    return None


def _sniff_brands(head: bytes) -> str | None:
    """Return the type that the first known brand in the `ftyp` box means.

    The box holds the major brand, a version (in some files the brand of the codec), and compatible brands.
    """
    end = max(12, min(int.from_bytes(head[:4], "big"), len(head)))
    known = [BRANDS[brand] for start in range(8, end, 4) if (brand := head[start : start + 4]) in BRANDS]
    if known[:1] == ["image/heif"]:  # another brand may name the codec
        return next((mime for mime in known if mime in ("image/avif", "image/heic")), "image/heif")
    return known[0] if known else None
