"""Hostile and odd pictures in the real workers: each costs its share at most, and is shown or refused in words.

Every picture is made anew by `odd_pictures.py`.
"""

import re
import resource
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import odd_pictures
import pytest
from odd_pictures import TEXT, captioned, saved
from PIL import Image
from worker_process import WorkerProcess

pytestmark = pytest.mark.models

PEAK_MB_MAX = 450  # of the worker that analyzes, models included
SIDE_PX = 256
Analyze = Callable[[bytes], dict[str, Any]]
Show = Callable[[bytes], Image.Image | str]


@pytest.fixture(scope="module")
def image_worker() -> Iterator[WorkerProcess]:
    with WorkerProcess("--images", "--threads", "2") as worker:
        yield worker


@pytest.fixture(scope="module")
def thumbnail_worker() -> Iterator[WorkerProcess]:
    with WorkerProcess("--thumbnails", "--threads", "2") as worker:
        yield worker


@pytest.fixture
def analyze(image_worker: WorkerProcess, tmp_path: Path) -> Analyze:
    """Return a function that analyzes a picture."""

    def analyze(data: bytes) -> dict[str, Any]:
        (tmp_path / "picture").write_bytes(data)
        return image_worker.ask(analyze=str(tmp_path / "picture"))

    return analyze


@pytest.fixture
def show(thumbnail_worker: WorkerProcess, tmp_path: Path) -> Show:
    """Return a function that returns the thumbnail of a picture, or why it has none."""

    def show(data: bytes) -> Image.Image | str:
        source, target = tmp_path / "shown", tmp_path / "thumbnail"
        source.write_bytes(data)
        response = thumbnail_worker.ask(thumbnail=str(source), targets={str(SIDE_PX): str(target)})
        if "unreadable" in response:
            return str(response["unreadable"])
        assert "error" not in response, response
        return Image.open(BytesIO(target.read_bytes())).convert("RGBA")

    return show


READABLE = {
    "a JPEG without its second picture": odd_pictures.cut_mpo,
    "a JPEG whose second picture is zeros": lambda: odd_pictures.cut_mpo(zeros=5000),
    "a JPEG with junk as EXIF": lambda: odd_pictures.jpeg_with_exif(b"\xff\xff\xff\xff\0\0\0\x08junk"),
    "a JPEG with cut EXIF": lambda: odd_pictures.jpeg_with_exif(b"II*\0"),
    "a PNG with junk as EXIF": lambda: odd_pictures.png_with(b"eXIf", b"LoremIpsumDolor"),
    "a PNG with an unknown profile compression": lambda: odd_pictures.png_with(b"iCCP", b"profile\0\x07junk"),
    "a PNG with a broken profile": lambda: odd_pictures.png_with(b"iCCP", b"profile\0\0junk"),
    "an animated PNG without its last control chunk": lambda: odd_pictures.apng(
        [captioned(), captioned(text="TWO"), captioned(text="THREE")], without=[(b"fcTL", -1)]
    ),
    "an animated PNG without its first control chunk": lambda: odd_pictures.apng(
        [captioned(), captioned(text="TWO")], without=[(b"fcTL", 0)]
    ),
    "an animated PNG without data of a frame": lambda: odd_pictures.apng(
        [captioned(), captioned(text="TWO"), captioned(text="THREE")], without=[(b"fdAT", 0)]
    ),
    "a GIF in a corner of its screen": odd_pictures.gif_with_small_frame,
    "a PNG in sixteen bits of grey": lambda: saved(captioned(ink=20_000, paper=60_000), "PNG"),
}


@pytest.mark.parametrize("name", READABLE)
def test_what_is_broken_beside_the_first_frame_loses_neither_text_nor_thumbnail(
    name: str, analyze: Analyze, show: Show
) -> None:
    response = analyze(READABLE[name]())
    assert TEXT.split()[1] in response.get("text", "").upper(), response
    thumbnail = show(READABLE[name]())
    assert isinstance(thumbnail, Image.Image), thumbnail
    assert len(set(thumbnail.convert("L").tobytes())) > 20


FIRST_FRAME_ONLY = {
    "far outside": lambda: odd_pictures.gif_with_second_frame(100, 100, left=65_000, top=65_000),
    "of 49 million pixels": lambda: odd_pictures.gif_with_second_frame(7000, 7000),
    "of 400 million pixels": lambda: odd_pictures.gif_with_second_frame(20_000, 20_000),
    "of 4 billion pixels, to be restored": lambda: odd_pictures.gif_with_second_frame(65_000, 65_000, disposal=2),
}


@pytest.mark.parametrize("name", FIRST_FRAME_ONLY)
def test_a_gif_with_a_huge_second_frame_costs_no_more_than_its_first(
    name: str, analyze: Analyze, image_worker: WorkerProcess
) -> None:
    response = analyze(FIRST_FRAME_ONLY[name]())
    assert (response.get("width"), response.get("height")) == (100, 100), response
    assert image_worker.peak_mb < PEAK_MB_MAX


@pytest.mark.parametrize("separate_scans", [False, True])
def test_a_jpeg_that_libjpeg_would_keep_as_a_whole_is_refused_by_its_stored_size(
    analyze: Analyze,
    show: Show,
    image_worker: WorkerProcess,
    thumbnail_worker: WorkerProcess,
    separate_scans: bool,
) -> None:
    data = odd_pictures.jpeg_of_claimed_size(30_000, 30_000, separate_scans=separate_scans)
    reason = "The image has 30000 x 30000 pixels; the limit is 50 million pixels."
    assert analyze(data)["unreadable"] == reason
    assert show(data) == reason
    assert image_worker.peak_mb < PEAK_MB_MAX
    assert thumbnail_worker.peak_mb < PEAK_MB_MAX


def test_a_picture_that_takes_more_memory_than_the_worker_may_use_is_refused_in_words(tmp_path: Path) -> None:
    """No known picture below the limit of pixels takes that much, so the limit of a ready worker is lowered."""
    source, target = tmp_path / "picture", tmp_path / "thumbnail"
    source.write_bytes(saved(Image.new("RGB", (6000, 6000)), "PNG"))
    request = {"thumbnail": str(source), "targets": {str(SIDE_PX): str(target)}}
    with WorkerProcess("--thumbnails") as worker:
        pid = worker.process.pid
        source.with_name("small").write_bytes(saved(captioned(), "PNG"))
        small = {**request, "thumbnail": str(source.with_name("small"))}
        assert "unreadable" not in worker.ask(**small)  # loads the libraries
        used_kb = int(re.findall(r"VmData:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[0])
        limit = (used_kb + 50_000) * 1024
        resource.prlimit(pid, resource.RLIMIT_DATA, (limit, limit))
        reason = worker.ask(**request)["unreadable"]
        assert re.fullmatch(r"The image takes more memory than the \d+ MB that it may use\.", reason)
        assert "unreadable" not in worker.ask(**small), "the worker goes on"


def test_a_picture_of_48_million_pixels_is_shown(show: Show, thumbnail_worker: WorkerProcess) -> None:
    assert isinstance(show(saved(Image.new("1", (8000, 6000)), "PNG")), Image.Image)
    assert thumbnail_worker.peak_mb < PEAK_MB_MAX


@pytest.mark.timeout(600)  # five seconds of work, but at the lowest priority
def test_a_long_page_is_read_to_its_end(analyze: Analyze) -> None:
    page, words = odd_pictures.long_page(110)
    response = analyze(saved(page, "PNG"))
    assert (response["width"], response["height"]) == page.size
    found = set(re.findall(r"\d{3}", response["text"]))
    assert len(found & set(words)) >= 0.9 * len(words), sorted(set(words) - found)


def test_a_picture_turned_by_exif_is_upright(show: Show) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.new("RGB", (200, 100), "white")
    image.paste("red", (0, 0, 100, 100))
    thumbnail = show(saved(image, "JPEG", exif=exif.tobytes()))
    assert isinstance(thumbnail, Image.Image)
    assert thumbnail.size == (100, 200)
    assert thumbnail.getpixel((50, 20))[1] < 40  # type: ignore[index]  # a colour


def test_a_profile_is_converted_in_thumbnails(show: Show) -> None:
    image = Image.new("RGB", (200, 100), "red")
    for kind in ("JPEG", "PNG", "WEBP"):
        thumbnail = show(saved(image, kind, icc_profile=odd_pictures.swapped_profile()))
        assert isinstance(thumbnail, Image.Image)
        red, _, blue, _ = thumbnail.getpixel((100, 50))  # type: ignore[misc]  # a colour
        assert (red < 20, blue > 235) == (True, True), kind


def test_a_gif_is_transparent_where_it_has_no_frame(
    show: Show,
) -> None:
    thumbnail = show(odd_pictures.gif_with_small_frame())
    assert isinstance(thumbnail, Image.Image)
    assert thumbnail.getchannel("A").getpixel((400 * 256 // 480, 250 * 256 // 480)) == 0
    assert thumbnail.getchannel("A").getpixel((10, 10)) == 255


def test_an_animation_after_a_default_image_shows_its_own_first_frame(
    show: Show,
) -> None:
    frames = [Image.new("RGB", (60, 40), colour) for colour in ("red", "blue", "green")]
    thumbnail = show(odd_pictures.apng(frames, default_image=True))
    assert isinstance(thumbnail, Image.Image)
    assert thumbnail.getpixel((30, 20))[2] > 200  # type: ignore[index]  # a colour


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xd8\xff" + b"nonsense" * 10,
        b"\x89PNG\r\n\x1a\n" + bytes(50),
        b"GIF89a" + bytes(20),
        b"RIFF\x24\0\0\0WEBPVP8 " + bytes(20),
        b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf" + bytes(40),
    ],
)
def test_what_cannot_be_decoded_is_refused_with_a_true_reason(data: bytes, analyze: Analyze, show: Show) -> None:
    for reason in (analyze(data).get("unreadable"), show(data)):
        assert isinstance(reason, str)
        assert reason.startswith("The image is damaged or in a form that this version cannot read")


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_the_first_middle_and_last_words_of_an_animation_are_read_each_once(kind: str, analyze: Analyze) -> None:
    frames = []
    for number in range(9):
        frame = captioned((500, 400), text="ALWAYS HERE")
        frame.paste(captioned((500, 160), text=("FIRST", "MIDDLE", "FINALLY")[min(number // 3, 2)]), (0, 200))
        frame.putpixel((number, 0), (0, 0, 0))
        frames.append(frame)
    data = saved(frames[0], kind, save_all=True, append_images=frames[1:], duration=100)
    assert analyze(data)["text"].split("\n") == ["ALWAYS HERE", "FIRST", "MIDDLE", "FINALLY"]
