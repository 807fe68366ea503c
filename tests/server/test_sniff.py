"""Media type detection of the server, and its agreement with the daemon's."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sploot_server.domain.sniff import BRANDS, EXTENSIONS, OTHER_BRANDS, SNIFF_BYTES, sniff

from splootd.core import mime_sniff


def box(brand: bytes) -> bytes:
    return (b"\0\0\1\0ftyp" + brand + bytes(4))[:SNIFF_BYTES]


@pytest.mark.parametrize(
    ("head", "mime"),
    [
        (b"\xff\xd8\xff\xe0\x00\x10JFIF", "image/jpeg"),
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "image/png"),
        (b"GIF87a", "image/gif"),
        (b"GIF89a\x01\x00", "image/gif"),
        (b"RIFF\x24\x00\x00\x00WEBPVP8 ", "image/webp"),
        (b"\x00\x00\x00\x20ftypavif", "image/avif"),
        (b"\x00\x00\x00\x18ftypheic\0\0\0\0", "image/heic"),
        (b"\x00\x00\x00\x18ftypmif1\0\0\0\0", "image/heif"),
        (b"\x00\x00\x00\x20ftypisom\0\0\2\0", "video/mp4"),
        (b"\x00\x00\x00\x14ftypqt  \0\0\0\0", "video/quicktime"),
        (b"\x1aE\xdf\xa3\x9fB\x86\x81", "video/webm"),
    ],
)
def test_images_and_videos_are_detected_by_their_first_bytes(head: bytes, mime: str) -> None:
    assert sniff(head) == mime
    assert mime in EXTENSIONS


@pytest.mark.parametrize(
    "head",
    [b"", b"\xff\xd8", b"RIFF\x24\x00\x00\x00WAVE", b"<svg xmlns=", b"%PDF-1.7", b"GIF90a", b"\0\0\0\x18ftypM4A "],
)
def test_other_content_is_not_an_image(head: bytes) -> None:
    assert sniff(head) is None


@pytest.mark.parametrize(
    ("brands", "mime"),
    [
        (b"mif1\0\0\0\0mif1heicmiaf", "image/heic"),
        (b"mif1\0\0\0\0mif1avifmiaf", "image/avif"),
        (b"mif3avif", "image/avif"),
        (b"mif3\0\0\0\0", "image/heif"),
        (b"j2ki\0\0\0\0mif1j2ki", "image/heif"),
        (b"jpeg\0\0\0\0mif1", "image/heif"),
        (b"vvic\0\0\0\0mif1", "image/heif"),
        (b"\0\0\0\0\0\0\0\0mif1heic", "image/heic"),
        (b"msf1\0\0\0\0hevcmsf1", "image/heic"),
        (b"xyz0\0\0\0\0isommp42", "video/mp4"),
        (b"isom\0\0\2\0isomavif", "video/mp4"),
        (b"xyz0\0\0\0\0xyz1", None),
        (b"M4A \0\0\0\0isommp42", None),
    ],
)
def test_compatible_brands_tell_images_from_videos(brands: bytes, mime: str | None) -> None:
    head = (len(brands) + 8).to_bytes(4, "big") + b"ftyp" + brands
    assert sniff(head + b"\0\0\0\x08free") == mime
    assert (mime_sniff.sniff(head) or (None,))[0] == mime


def test_both_sides_have_the_same_table_of_brands() -> None:
    assert mime_sniff.BRANDS == BRANDS


brand_lists = st.lists(st.sampled_from([*BRANDS, *OTHER_BRANDS, b"xyz0", bytes(4)]), min_size=1).map(b"".join)


@given(st.one_of(st.binary(max_size=SNIFF_BYTES), brand_lists.map(box)))
def test_the_daemon_detects_the_same_types(head: bytes) -> None:
    """The server accepts a file as the type that the daemon detected."""
    known = sniff(head)
    if known is not None:
        assert mime_sniff.sniff(head) == (known, EXTENSIONS[known])
