"""Short videos: read like animations, within limits, by the decoders of the extra `video`."""

from functools import partial
from pathlib import Path

import httpx
import pytest
from clips import save_clip
from PIL import Image, ImageDraw, ImageFont
from sploot_server.domain.embedding import UnreadableImage
from sploot_server.domain.image_sizes import fit_within
from sploot_server.inference import video_decode
from sploot_server.inference.image_decode import DecodedImage, decode_image
from toy_library import ServerProcess

COLOURS = ("red", "lime", "blue")


def plain(colour: str, size: tuple[int, int] = (96, 64)) -> Image.Image:
    return Image.new("RGB", size, colour)


def decode(clip: Path) -> DecodedImage:
    return decode_image(clip, partial(fit_within, side_px=48), with_later_frames=True)


def main_channels(decoded: DecodedImage) -> list[str]:
    """Return the colour of each frame."""
    return [COLOURS[max(range(3), key=lambda channel: frame.getpixel((9, 9))[channel])] for frame in decoded.frames]


@pytest.mark.parametrize(
    ("name", "codec"), [("a.mp4", "libx264"), ("a.mp4", "mpeg4"), ("a.webm", "libvpx"), ("a.webm", "libvpx-vp9")]
)
def test_the_first_middle_and_last_frame_are_decoded(tmp_path: Path, name: str, codec: str) -> None:
    clip = save_clip(tmp_path / name, [plain(colour) for colour in COLOURS for _ in range(9)], codec)
    decoded = decode(clip)
    assert main_channels(decoded) == ["red", "lime", "blue"]
    assert (decoded.width, decoded.height, decoded.frames[0].size) == (96, 64, (48, 32))


def test_a_video_without_a_duration_has_a_first_and_a_last_frame(tmp_path: Path) -> None:
    clip = save_clip(tmp_path / "a.webm", [plain(colour) for colour in COLOURS], "libvpx")
    content = clip.read_bytes()
    duration = content.index(b"\x44\x89\x88")  # the element Duration, of 8 bytes, becomes one that is skipped
    clip.write_bytes(content[:duration] + b"\x44\x8a" + content[duration + 2 :])
    assert main_channels(decode(clip)) == ["red", "blue"]


def test_a_frame_that_is_far_from_a_keyframe_is_reached_as_far_as_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = save_clip(tmp_path / "a.mp4", [plain(colour) for colour in COLOURS for _ in range(9)])
    monkeypatch.setattr(video_decode, "DECODED_S_MAX", 1.1)
    assert main_channels(decode(clip)) == ["red", "lime"]
    monkeypatch.setattr(video_decode, "DECODED_PIXELS_MAX", 96 * 64 * 2)
    assert main_channels(decode(clip)) == ["red", "red"]


def test_a_frame_larger_than_the_file_says_is_not_decoded(tmp_path: Path) -> None:
    clip = save_clip(tmp_path / "a.webm", [plain("red"), plain("lime"), plain("blue", (4000, 2600))], "libvpx")
    assert "blue" not in main_channels(decode(clip))


def test_a_video_of_a_phone_is_turned_as_browsers_turn_it(tmp_path: Path) -> None:
    picture = plain("red")
    picture.paste("blue", (48, 0, 96, 64))
    clip = save_clip(tmp_path / "a.mp4", [picture])
    upright, turned = (
        b"".join(each.to_bytes(4, "big", signed=True) for each in matrix)
        for matrix in ((1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30), (0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30))
    )
    content = clip.read_bytes()
    track = content.index(b"tkhd")
    clip.write_bytes(content[:track] + content[track:].replace(upright, turned, 1))
    decoded = decode(clip)
    assert (decoded.width, decoded.height, decoded.frames[0].size) == (64, 96, (32, 48))
    above, below = (decoded.frames[0].getpixel((16, y)) for y in (9, 39))
    assert (above[0] > 200, below[2] > 200) == (True, True)


def test_a_cut_video_shows_what_it_has(tmp_path: Path) -> None:
    clip = save_clip(tmp_path / "a.webm", [plain(colour) for colour in COLOURS for _ in range(9)], "libvpx")
    content = clip.read_bytes()
    clip.write_bytes(content[: len(content) * 2 // 3])
    assert main_channels(decode(clip))[0] == "red"


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        ("huge", r"^The video has .*; the limit is 10 million pixels\.$"),
        ("long", r"^The video lasts 200 seconds; the limit is 180 seconds\.$"),
        ("codec", r"^The video is in the codec mpeg2video; those that browsers play are read\.$"),
        ("cut", r"^The video is damaged or"),
        ("empty", r"^The video is damaged or in a form that this version cannot read"),
    ],
)
def test_a_video_that_cannot_be_read_is_refused_in_words(tmp_path: Path, spoil: str, sentence: str) -> None:
    clip = tmp_path / "a.mp4"
    match spoil:
        case "huge":
            save_clip(clip, [plain("red", (4000, 2600))], "mpeg4")
        case "long":
            save_clip(clip, [plain("red"), plain("red")], "mpeg4", frame_ms=100_000)
        case "codec":
            save_clip(clip, [plain("red")], "mpeg2video")
        case "cut":
            content = save_clip(clip, [plain(colour) for colour in COLOURS]).read_bytes()
            clip.write_bytes(content[: len(content) // 2])
        case "empty":
            clip.write_bytes(b"\0\0\0\x18ftypisom\0\0\x02\0isommp42")
    with pytest.raises(UnreadableImage, match=sentence):
        decode(clip)


def test_a_name_in_no_known_encoding_does_not_matter(tmp_path: Path) -> None:
    clip = save_clip(tmp_path / "a.mp4", [plain("red")])
    clip.write_bytes(clip.read_bytes().replace(b"VideoHandler", b"Vide\xff\xfeandler"))
    assert main_channels(decode(clip)) == ["red"]


@pytest.mark.models
def test_the_words_in_a_video_are_found_and_its_first_frame_is_its_thumbnail(tmp_path: Path) -> None:
    last = Image.new("RGB", (600, 200), "white")
    ImageDraw.Draw(last).text((30, 60), "purple elephant", "black", ImageFont.load_default(60))
    clip = save_clip(tmp_path / "a.mp4", [plain("red", last.size)] * 5 + [last] * 2)
    server = ServerProcess(tmp_path / "library")
    try:
        with server.client() as client:
            client.timeout = httpx.Timeout(60)
            sent = client.post("/api/upload", files={"file": ("a.mp4", clip.read_bytes())})
            asset_id = sent.json()["asset"]["id"]
            while client.post(f"/api/assets/{asset_id}/generate-embedding").status_code == 202:
                pass  # each call waits for ten seconds, until the test times out
            (found,) = client.post("/api/search", json={"query": "purple elephant"}).json()["results"]
            assert (found["id"], found["mime"], found["width"], found["height"]) == (asset_id, "video/mp4", 600, 200)
            thumbnail = client.get(f"/api/assets/{asset_id}/thumbnail?size=512")
            assert thumbnail.headers["content-type"] == "image/webp"
            (tmp_path / "t.webp").write_bytes(thumbnail.content)
            red, green, _ = Image.open(tmp_path / "t.webp").convert("RGB").getpixel((9, 9))
            assert red > 2 * green
            part = client.get(found["blobUrl"], headers={"range": "bytes=4-7"})
            assert (part.status_code, part.content, part.headers["content-type"]) == (206, b"ftyp", "video/mp4")
    finally:
        server.stop()
