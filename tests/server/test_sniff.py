import pytest
from sploot_server.sniff import EXTENSIONS, sniff


@pytest.mark.parametrize(
    ("head", "mime"),
    [
        (b"\xff\xd8\xff\xe0\x00\x10JFIF", "image/jpeg"),
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "image/png"),
        (b"GIF87a", "image/gif"),
        (b"GIF89a\x01\x00", "image/gif"),
        (b"RIFF\x24\x00\x00\x00WEBPVP8 ", "image/webp"),
        (b"\x00\x00\x00\x20ftypavif", "image/avif"),
    ],
)
def test_pictures_are_known_by_their_first_bytes(head: bytes, mime: str) -> None:
    assert sniff(head) == mime
    assert mime in EXTENSIONS


@pytest.mark.parametrize(
    "head", [b"", b"\xff\xd8", b"RIFF\x24\x00\x00\x00WAVE", b"<svg xmlns=", b"%PDF-1.7", b"GIF90a"]
)
def test_nothing_else_is_a_picture(head: bytes) -> None:
    assert sniff(head) is None
