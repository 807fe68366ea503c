"""MIME type detection and truncation checks."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from splootd.core.mime_sniff import HEAD_BYTES, TAIL_BYTES, is_complete, sniff


def make_image(kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    noise = Image.effect_noise((64, 48), 80).convert("RGB")
    noise.save(stream, kind, **options)
    return stream.getvalue()


KINDS = {"JPEG": "image/jpeg", "PNG": "image/png", "GIF": "image/gif", "WEBP": "image/webp"}
OTHERS = {"BMP": "image/bmp", "TIFF": "image/tiff", "ICO": "image/x-icon", "AVIF": "image/avif"}


@pytest.mark.parametrize(("kind", "mime"), (KINDS | OTHERS).items())
def test_images_written_by_pillow_are_recognized(kind: str, mime: str) -> None:
    found = sniff(make_image(kind)[:HEAD_BYTES])
    assert found is not None
    assert found[0] == mime


@pytest.mark.parametrize(
    ("head", "mime"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "image/heic"),
        (b"\0\0\0\x18ftypisom\0\0\x02\0isommp42", "video/mp4"),
        (b"\0\0\0\x14ftypqt  ", "video/quicktime"),
        (b"\x1aE\xdf\xa3\x9fB\x86\x81", "video/webm"),
        (b"RIFF\0\0\0\0AVI LIST", "video/x-msvideo"),
        (b"\xff\x0a", "image/jxl"),
        (b'\xef\xbb\xbf<?xml version="1.0"?>\n<!-- drawn --><SVG xmlns=""/>', "image/svg+xml"),
    ],
)
def test_other_images_and_videos_are_recognized(head: bytes, mime: str) -> None:
    found = sniff(head)
    assert found is not None
    assert found[0] == mime


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"\xff\xd8",
        b"This is no picture.\n",
        b"BMW is a make of cars",
        b"BM",
        b"<html><body>404</body></html>",
        b"RIFF\0\0\0\0WAVEfmt ",
        b"\0\0\0\x18ftypM4A \0\0\0\0",
        b"%PDF-1.7",
        b"PK\x03\x04",
    ],
)
def test_other_files_are_not_recognized(head: bytes) -> None:
    assert sniff(head) is None


@given(st.binary(max_size=HEAD_BYTES))
def test_any_bytes_have_a_result(head: bytes) -> None:
    assert sniff(head) is None or len(sniff(head) or ()) == 2


@pytest.mark.parametrize(("kind", "mime"), KINDS.items())
def test_a_truncated_file_is_incomplete(kind: str, mime: str) -> None:
    complete = make_image(kind)
    assert is_complete(mime, complete[-TAIL_BYTES:], head=complete[:HEAD_BYTES], size=len(complete))
    cut = complete[: len(complete) - 30]
    assert not is_complete(mime, cut[-TAIL_BYTES:], head=cut[:HEAD_BYTES], size=len(cut))


def test_bytes_after_the_end_marker_are_accepted() -> None:
    content = make_image("JPEG") + bytes(100)
    assert is_complete("image/jpeg", content[-TAIL_BYTES:], head=content[:HEAD_BYTES], size=len(content))
