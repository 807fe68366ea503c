import pytest
from hypothesis import given
from hypothesis import strategies as st
from sploot_server.sniff import BRANDS, EXTENSIONS, NO_FILM, SNIFF_BYTES, sniff

from splootd.core import magic


def box(brand: bytes) -> bytes:
    return b"\0\0\0\x18ftyp" + brand + bytes(4)


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
def test_pictures_and_films_are_known_by_their_first_bytes(head: bytes, mime: str) -> None:
    assert sniff(head) == mime
    assert mime in EXTENSIONS


@pytest.mark.parametrize(
    "head",
    [b"", b"\xff\xd8", b"RIFF\x24\x00\x00\x00WAVE", b"<svg xmlns=", b"%PDF-1.7", b"GIF90a", b"\0\0\0\x18ftypM4A "],
)
def test_nothing_else_is_a_picture(head: bytes) -> None:
    assert sniff(head) is None


@given(st.one_of(st.binary(max_size=SNIFF_BYTES), st.sampled_from([*BRANDS, *NO_FILM, b"isom"]).map(box)))
def test_the_daemon_calls_them_the_same(head: bytes) -> None:
    """Whatever it sends as one of these types is taken as that type."""
    known = sniff(head)
    if known is not None:
        assert magic.sniff(head) == (known, EXTENSIONS[known])
