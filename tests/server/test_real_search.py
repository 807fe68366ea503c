"""The real pipeline: upload captioned images, search for the words and the meaning of their captions."""

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
from PIL import Image, ImageDraw, ImageFilter, ImageFont, ImageOps
from toy_library import ServerProcess

pytestmark = pytest.mark.models

COUNT = 32


@pytest.fixture(scope="module")
def drawn_memes(tmp_path_factory: pytest.TempPathFactory) -> list[memes.Meme]:
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
def library(client: httpx.Client, drawn_memes: list[memes.Meme]) -> dict[str, memes.Meme]:
    """Upload all memes and return them by asset id when all are ready."""
    library = {send(client, meme.path): meme for meme in drawn_memes}
    for asset_id in library:
        finish(client, asset_id)
    return library


def send(client: httpx.Client, path: Path) -> str:
    response = client.post("/api/upload", files={"file": (path.name, path.read_bytes())})
    assert response.status_code == 201
    asset_id: str = response.json()["asset"]["id"]
    return asset_id


def finish(client: httpx.Client, asset_id: str) -> dict[str, object]:
    """Wait until an embedding completes; return its status."""
    while client.post(f"/api/assets/{asset_id}/generate-embedding").status_code == 202:
        pass  # each call waits for ten seconds; the test times out after two minutes
    status: dict[str, object] = client.get(f"/api/assets/{asset_id}/embedding-status").json()
    return status


def ranks(client: httpx.Client, library: dict[str, memes.Meme], query: Callable[[memes.Meme], str | None]) -> list[int]:
    """Return the rank of each meme in the results of its query; 99 if it is not among them."""
    found = []
    for asset_id, meme in library.items():
        text = query(meme)
        if text is not None:
            results = client.post("/api/search", json={"query": text}).json()["results"]
            ids = [result["id"] for result in results]
            found.append(ids.index(asset_id) if asset_id in ids else 99)
    return found


def test_complete_partial_misspelt_and_joined_quotes_are_found(
    client: httpx.Client, library: dict[str, memes.Meme]
) -> None:
    rng = random.Random(3)
    for query in (
        lambda meme: meme.caption,
        lambda meme: memes.partial(meme.caption, rng),
        lambda meme: memes.typo(meme.caption, rng),
        lambda meme: memes.glued(meme.caption),
    ):
        found = ranks(client, library, query)
        assert sum(rank < 5 for rank in found) >= 0.98 * len(found), found


def test_paraphrases_are_found(client: httpx.Client, library: dict[str, memes.Meme]) -> None:
    found = ranks(client, library, lambda meme: meme.paraphrase)
    assert sum(rank < 5 for rank in found) >= 0.75 * len(found), found


def test_ready_assets_have_their_dimensions(client: httpx.Client, library: dict[str, memes.Meme]) -> None:
    for asset in client.get("/api/assets?limit=1000").json()["assets"]:
        if asset["id"] in library:
            with Image.open(library[asset["id"]].path) as image:
                assert (asset["width"], asset["height"]) == image.size


def captioned(text: str, size: tuple[int, int] = (480, 360)) -> Image.Image:
    image = Image.new("RGB", size, "white")
    ImageDraw.Draw(image).text((20, 40), text, fill="black", font=ImageFont.load_default(size=36))
    return image


def test_a_rotated_image_is_analyzed_upright(client: httpx.Client, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees clockwise
    captioned("sideways giraffe").rotate(90, expand=True).save(tmp_path / "a.jpg", exif=exif)
    asset_id = send(client, tmp_path / "a.jpg")
    finish(client, asset_id)
    result = client.post("/api/search", json={"query": "sideways giraffe"}).json()["results"][0]
    assert (result["id"], result["width"], result["height"]) == (asset_id, 480, 360)


def test_white_text_on_a_transparent_background_is_recognized(client: httpx.Client, tmp_path: Path) -> None:
    image = Image.new("RGBA", (480, 360), (255, 255, 255, 0))
    font = ImageFont.load_default(size=36)
    ImageDraw.Draw(image).text((20, 40), "invisible pelican", fill="white", font=font)
    image.save(tmp_path / "a.png")
    asset_id = send(client, tmp_path / "a.png")
    finish(client, asset_id)
    assert client.post("/api/search", json={"query": "invisible pelican"}).json()["results"][0]["id"] == asset_id


def test_a_truncated_image_is_analyzed(client: httpx.Client, tmp_path: Path) -> None:
    captioned("truncated walrus").save(tmp_path / "whole.jpg", quality=95)
    whole = (tmp_path / "whole.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(whole[: len(whole) * 2 // 3])
    asset_id = send(client, tmp_path / "a.jpg")
    assert finish(client, asset_id)["status"] == "ready"
    assert client.get(f"/api/assets/{asset_id}/original").content == whole[: len(whole) * 2 // 3]
    assert client.post("/api/search", json={"query": "truncated walrus"}).json()["results"][0]["id"] == asset_id


def test_an_image_without_text_is_ready_and_not_found(client: httpx.Client, tmp_path: Path) -> None:
    Image.new("RGB", (300, 200), "teal").save(tmp_path / "a.png")
    asset_id = send(client, tmp_path / "a.png")
    assert finish(client, asset_id) == {"assetId": asset_id, "hasEmbedding": True, "status": "ready"}
    results = client.post("/api/search", json={"query": "teal", "limit": 1000}).json()["results"]
    assert asset_id not in [result["id"] for result in results]


def test_copies_are_one_result_and_other_captions_on_the_template_are_not(
    client: httpx.Client, drawn_memes: list[memes.Meme], tmp_path: Path
) -> None:
    template = Image.open(drawn_memes[4].path).convert("RGB").resize((640, 480)).filter(ImageFilter.GaussianBlur(8))

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
    ImageOps.expand(original, (30, 80, 30, 10), "white").save(tmp_path / "4.jpg", quality=75)
    written("ostriches cannot double park").save(tmp_path / "5.jpg", quality=75)
    ids = [send(client, path) for path in sorted(tmp_path.iterdir())]
    for asset_id in ids:
        assert finish(client, asset_id)["status"] == "ready"
    results = client.post("/api/search", json={"query": "ostriches cannot park"}).json()["results"][:2]
    copies, other = sorted(results, key=lambda result: len(result["nearDuplicates"]), reverse=True)
    assert {copies["id"], *copies["nearDuplicates"]} == set(ids[:5])
    assert (other["id"], other["nearDuplicates"]) == (ids[5], [])
    similar = client.get(f"/api/assets/{ids[2]}/similar?limit=5").json()["results"]
    assert {result["id"] for result in similar[:4]} == {ids[0], ids[1], ids[3], ids[4]}
    assert similar[4]["id"] == ids[5]


def bomb(side: int) -> bytes:
    """Return a PNG of a few bytes whose header declares `side` x `side` pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 6, 0, 0, 0)
    chunks = (header, b"IDAT" + zlib.compress(b"\0" * 1000), b"IEND")
    framed = (struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)


def text_bomb() -> bytes:
    """Return a PNG of a few kilobytes with a compressed comment of 200 MB."""
    compressor = zlib.compressobj(9)
    compressed = b"".join(compressor.compress(bytes(1_000_000)) for _ in range(200)) + compressor.flush()
    comment = b"zTXtComment\0\0" + compressed
    header = b"IHDR" + struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 0)
    chunks = (header, comment, b"IDAT" + zlib.compress(bytes(72)), b"IEND")
    framed = (struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\xff\xd8\xff and nothing else", "The image is damaged or in a form that this version cannot read"),
        (bomb(50_000), "The image has 50000 x 50000 pixels; the limit is 50 million pixels."),
        (b"GIF89a" + struct.pack("<HHBBB", 60_000, 60_000, 0, 0, 0) + b";", "The image "),
    ],
    ids=["garbage", "bomb", "gif"],
)
def test_an_undecodable_image_fails_with_a_reason(
    client: httpx.Client, tmp_path: Path, content: bytes, reason: str
) -> None:
    (tmp_path / "a.jpg").write_bytes(content)
    status = finish(client, send(client, tmp_path / "a.jpg"))
    assert status["status"] == "failed"
    assert reason in str(status["error"])


def test_a_compressed_comment_of_200_mb_is_not_decompressed(
    server: ServerProcess, client: httpx.Client, tmp_path: Path
) -> None:
    captioned("small talk").save(tmp_path / "b.png")
    finish(client, send(client, tmp_path / "b.png"))
    before = peak_mb(server)
    (tmp_path / "a.png").write_bytes(text_bomb())
    assert finish(client, send(client, tmp_path / "a.png"))["status"] in ("ready", "failed")
    assert peak_mb(server) < before + 100


def peak_mb(server: ServerProcess) -> float:
    """Return the peak memory of the workers."""
    statuses = [Path(f"/proc/{pid}/status").read_text() for pid in children(server.process.pid)]
    return max(int(line.split()[1]) / 1024 for each in statuses for line in each.splitlines() if "VmHWM" in line)


def test_sigkill_of_the_workers_loses_no_job(server: ServerProcess, client: httpx.Client, tmp_path: Path) -> None:
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


def test_workers_exit_when_the_server_is_killed(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path / "library")
    with server.client() as client:
        client.timeout = httpx.Timeout(60)
        captioned("orphans").save(tmp_path / "a.png")
        finish(client, send(client, tmp_path / "a.png"))
    workers = [Path(f"/proc/{pid}") for pid in children(server.process.pid)]
    assert workers
    server.kill()  # waits for the end of its standard error, which the workers share
    assert not any(path.exists() and "sploot_server" in (path / "cmdline").read_text() for path in workers)


def children(pid: int) -> list[int]:
    output = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=True)
    return [int(line) for line in output.stdout.split()]
