"""The real pipeline: pictures with captions in, searches answered by what the captions say and mean."""

import os
import random
import signal
import struct
import subprocess
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import memes
import pytest
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from toy_library import ServerProcess

pytestmark = pytest.mark.models

COUNT = 32


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> list[memes.Meme]:
    return memes.make(tmp_path_factory.mktemp("memes"), count=COUNT, seed=11)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    server = ServerProcess(tmp_path_factory.mktemp("library"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def client(server: ServerProcess) -> Iterator[httpx.Client]:
    with server.client() as client:
        client.timeout = httpx.Timeout(60)
        yield client


@pytest.fixture(scope="module")
def library(client: httpx.Client, drawn: list[memes.Meme]) -> dict[str, memes.Meme]:
    """All memes by asset id, each ready."""
    library = {send(client, meme.path): meme for meme in drawn}
    for asset_id in library:
        finish(client, asset_id)
    return library


def send(client: httpx.Client, path: Path) -> str:
    answer = client.post("/api/upload", files={"file": (path.name, path.read_bytes())})
    assert answer.status_code == 201
    asset_id: str = answer.json()["asset"]["id"]
    return asset_id


def finish(client: httpx.Client, asset_id: str) -> dict[str, object]:
    """Wait for the end of an embedding; its status."""
    while client.post(f"/api/assets/{asset_id}/generate-embedding").status_code == 202:
        pass  # each such call waits for ten seconds, and the test for two minutes
    status: dict[str, object] = client.get(f"/api/assets/{asset_id}/embedding-status").json()
    return status


def places(
    client: httpx.Client, library: dict[str, memes.Meme], query: Callable[[memes.Meme], str | None]
) -> list[int]:
    """At which place each meme was found by its query; 99 for not at all."""
    found = []
    for asset_id, meme in library.items():
        text = query(meme)
        if text is not None:
            results = client.post("/api/search", json={"query": text}).json()["results"]
            ids = [result["id"] for result in results]
            found.append(ids.index(asset_id) if asset_id in ids else 99)
    return found


def test_quotes_are_found_whole_and_in_part_misspelt_and_glued(
    client: httpx.Client, library: dict[str, memes.Meme]
) -> None:
    rng = random.Random(3)
    for query in (
        lambda meme: meme.caption,
        lambda meme: memes.partial(meme.caption, rng),
        lambda meme: memes.typo(meme.caption, rng),
        lambda meme: memes.glued(meme.caption),
    ):
        found = places(client, library, query)
        assert sum(place < 5 for place in found) >= 0.98 * len(found), found


def test_other_words_of_the_same_meaning_find_it_too(client: httpx.Client, library: dict[str, memes.Meme]) -> None:
    found = places(client, library, lambda meme: meme.paraphrase)
    assert sum(place < 5 for place in found) >= 0.75 * len(found), found


def test_sizes_are_known_once_it_was_read(client: httpx.Client, library: dict[str, memes.Meme]) -> None:
    for asset in client.get("/api/assets?limit=1000").json()["assets"]:
        if asset["id"] in library:
            with Image.open(library[asset["id"]].path) as image:
                assert (asset["width"], asset["height"]) == image.size


def captioned(text: str, size: tuple[int, int] = (480, 360)) -> Image.Image:
    image = Image.new("RGB", size, "white")
    ImageDraw.Draw(image).text((20, 40), text, fill="black", font=ImageFont.load_default(size=36))
    return image


def test_a_picture_lying_on_its_side_is_read_upright(client: httpx.Client, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    captioned("sideways giraffe").rotate(90, expand=True).save(tmp_path / "a.jpg", exif=exif)
    asset_id = send(client, tmp_path / "a.jpg")
    finish(client, asset_id)
    result = client.post("/api/search", json={"query": "sideways giraffe"}).json()["results"][0]
    assert (result["id"], result["width"], result["height"]) == (asset_id, 480, 360)


def test_white_writing_on_transparent_ground_is_read(client: httpx.Client, tmp_path: Path) -> None:
    image = Image.new("RGBA", (480, 360), (255, 255, 255, 0))
    font = ImageFont.load_default(size=36)
    ImageDraw.Draw(image).text((20, 40), "invisible pelican", fill="white", font=font)
    image.save(tmp_path / "a.png")
    asset_id = send(client, tmp_path / "a.png")
    finish(client, asset_id)
    assert client.post("/api/search", json={"query": "invisible pelican"}).json()["results"][0]["id"] == asset_id


def test_half_a_picture_is_read_as_far_as_it_goes(client: httpx.Client, tmp_path: Path) -> None:
    captioned("truncated walrus").save(tmp_path / "whole.jpg", quality=95)
    whole = (tmp_path / "whole.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(whole[: len(whole) * 2 // 3])
    asset_id = send(client, tmp_path / "a.jpg")
    assert finish(client, asset_id)["status"] == "ready"
    assert client.get(f"/api/assets/{asset_id}/original").content == whole[: len(whole) * 2 // 3]
    assert client.post("/api/search", json={"query": "truncated walrus"}).json()["results"][0]["id"] == asset_id


def test_a_picture_without_words_is_ready_and_found_by_nothing(client: httpx.Client, tmp_path: Path) -> None:
    Image.new("RGB", (300, 200), "teal").save(tmp_path / "a.png")
    asset_id = send(client, tmp_path / "a.png")
    assert finish(client, asset_id) == {"assetId": asset_id, "hasEmbedding": True, "status": "ready"}
    results = client.post("/api/search", json={"query": "teal", "limit": 1000}).json()["results"]
    assert asset_id not in [result["id"] for result in results]


def test_copies_are_one_result_and_other_captions_on_the_template_are_not(
    client: httpx.Client, drawn: list[memes.Meme], tmp_path: Path
) -> None:
    template = Image.open(drawn[4].path).convert("RGB").resize((640, 480)).filter(ImageFilter.GaussianBlur(8))

    def written(text: str) -> Image.Image:
        image = template.copy()
        font = ImageFont.load_default(size=40)
        ImageDraw.Draw(image).text((30, 400), text, fill="white", font=font, stroke_width=3, stroke_fill="black")
        return image

    original = written("ostriches cannot parallel park")
    original.save(tmp_path / "0.png")
    original.save(tmp_path / "1.jpg", quality=40)
    original.resize((400, 300)).save(tmp_path / "2.webp", quality=60)
    original.crop((6, 5, 634, 476)).save(tmp_path / "3.jpg", quality=75)
    written("ostriches cannot double park").save(tmp_path / "4.jpg", quality=75)
    ids = [send(client, path) for path in sorted(tmp_path.iterdir())]
    for asset_id in ids:
        assert finish(client, asset_id)["status"] == "ready"
    results = client.post("/api/search", json={"query": "ostriches cannot park"}).json()["results"][:2]
    copies, other = sorted(results, key=lambda result: len(result["others"]), reverse=True)
    assert {copies["id"], *copies["others"]} == set(ids[:4])
    assert (other["id"], other["others"]) == (ids[4], [])
    similar = client.get(f"/api/assets/{ids[2]}/similar?limit=4").json()["results"]
    assert {result["id"] for result in similar[:3]} == {ids[0], ids[1], ids[3]}
    assert similar[3]["id"] == ids[4]


def bomb(side: int) -> bytes:
    """A PNG of a few bytes that claims to be `side` x `side` pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 6, 0, 0, 0)
    chunks = (header, b"IDAT" + zlib.compress(b"\0" * 1000), b"IEND")
    framed = (struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)


def text_bomb() -> bytes:
    """A PNG of a few kilobytes whose comment is 200 MB long."""
    squeezed = zlib.compressobj(9)
    comment = b"zTXtComment\0\0" + b"".join(squeezed.compress(bytes(1_000_000)) for _ in range(200)) + squeezed.flush()
    header = b"IHDR" + struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 0)
    chunks = (header, comment, b"IDAT" + zlib.compress(bytes(72)), b"IEND")
    framed = (struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\xff\xd8\xff and nothing else", "its content is not what its first bytes promise"),
        (bomb(50_000), "The picture is 50000 x 50000 pixels; at most 40 million are read."),
        (b"GIF89a" + struct.pack("<HHBBB", 60_000, 60_000, 0, 0, 0) + b";", "The picture "),
    ],
    ids=["garbage", "bomb", "gif"],
)
def test_what_cannot_be_read_fails_with_a_reason(
    client: httpx.Client, tmp_path: Path, content: bytes, reason: str
) -> None:
    (tmp_path / "a.jpg").write_bytes(content)
    status = finish(client, send(client, tmp_path / "a.jpg"))
    assert status["status"] == "failed"
    assert reason in str(status["error"])


def test_a_comment_of_200_mb_is_not_unpacked(server: ServerProcess, client: httpx.Client, tmp_path: Path) -> None:
    captioned("small talk").save(tmp_path / "b.png")
    finish(client, send(client, tmp_path / "b.png"))
    before = peak_mb(server)
    (tmp_path / "a.png").write_bytes(text_bomb())
    assert finish(client, send(client, tmp_path / "a.png"))["status"] in ("ready", "failed")
    assert peak_mb(server) < before + 100


def peak_mb(server: ServerProcess) -> float:
    """The most memory that any of the workers has had."""
    statuses = [Path(f"/proc/{pid}/status").read_text() for pid in children(server.process.pid)]
    return max(int(line.split()[1]) / 1024 for each in statuses for line in each.splitlines() if "VmHWM" in line)


def test_kill_9_of_the_worker_stops_nothing(server: ServerProcess, client: httpx.Client, tmp_path: Path) -> None:
    ids = []
    for number in range(6):
        captioned(f"resilient badger {number}").save(tmp_path / f"{number}.png")
        ids.append(send(client, tmp_path / f"{number}.png"))
    finish(client, ids[0])
    for pid in children(server.process.pid):
        os.kill(pid, signal.SIGKILL)
    assert [finish(client, asset_id)["status"] for asset_id in ids] == ["ready"] * 6
    results = client.post("/api/search", json={"query": "resilient badger 4"}).json()["results"]
    assert {result["id"] for result in results[:6]} == set(ids)


def test_workers_end_with_a_killed_server(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path / "library")
    with server.client() as client:
        captioned("orphans").save(tmp_path / "a.png")
        finish(client, send(client, tmp_path / "a.png"))
    output = [Path(f"/proc/{pid}") for pid in children(server.process.pid)]
    assert output
    server.kill()  # waits for the end of its standard error, which the workers share
    assert not any(path.exists() and "sploot_server" in (path / "cmdline").read_text() for path in output)


def children(pid: int) -> list[int]:
    listed = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=True)
    return [int(line) for line in listed.stdout.split()]
