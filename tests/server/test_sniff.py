"""Media type detection of the server, and its agreement with the daemon's."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sploot_server.domain.sniff import EXTENSIONS, FTYP_BRANDS, NON_VIDEO_BRANDS, SNIFF_BYTES, sniff

from splootd.core import mime_sniff


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
def test_images_and_videos_are_detected_by_their_first_bytes(head: bytes, mime: str) -> None:
    assert sniff(head) == mime
    assert mime in EXTENSIONS


@pytest.mark.parametrize(
    "head",
    [b"", b"\xff\xd8", b"RIFF\x24\x00\x00\x00WAVE", b"<svg xmlns=", b"%PDF-1.7", b"GIF90a", b"\0\0\0\x18ftypM4A "],
)
def test_other_content_is_not_an_image(head: bytes) -> None:
    assert sniff(head) is None


@given(st.one_of(st.binary(max_size=SNIFF_BYTES), st.sampled_from([*FTYP_BRANDS, *NON_VIDEO_BRANDS, b"isom"]).map(box)))
def test_the_daemon_detects_the_same_types(head: bytes) -> None:
    """The server accepts a file as the type that the daemon detected."""
    known = sniff(head)
    if known is not None:
        assert mime_sniff.sniff(head) == (known, EXTENSIONS[known])
