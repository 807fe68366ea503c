"""Parts of uploads on the disk: what counts is exactly what was acknowledged, whatever happens."""

import asyncio
import errno
import os
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sploot_server import partial, tail, turns
from sploot_server.partial import ENDED_KEPT_S, KEPT_S, Outcome, Partials, Unknown, Upload
from sploot_server.turns import Held, Turns
from tuskit import DATA, PLAIN, begin, offset_of, patch, pieces

LENGTH = 3_000
WHOLE = random.Random(1).randbytes(LENGTH)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "partial"


def opened(folder: Path) -> Partials:
    partials = Partials(folder)
    partials.open()
    return partials


async def begun(partials: Partials, owner: str = "") -> Upload:
    return await partials.begin(owner, length=LENGTH, metadata="m", filename="f", tags=("t",), checksum=None)


async def add(partials: Partials, upload: Upload, data: bytes) -> Upload:
    with partials.tail(upload, "sha256") as end:
        end.write(data)
        await end.commit()
    return await partials.find(upload.id, upload.owner)


def names(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}


async def content(partials: Partials, upload: Upload) -> bytes:
    return (await asyncio.to_thread(partials.path(upload).read_bytes))[: upload.offset]


async def test_an_upload_is_the_same_after_a_restart(folder: Path) -> None:
    upload = await add(partials := opened(folder), await begun(partials, "anna"), WHOLE[:1_000])
    again = await opened(folder).find(upload.id, "anna")
    assert (again.offset, again.length, again.metadata, again.filename, tuple(again.tags)) == (
        1_000,
        LENGTH,
        "m",
        "f",
        ("t",),
    )
    assert await content(partials, again) == WHOLE[:1_000]


async def test_an_upload_is_its_owners_alone(folder: Path) -> None:
    upload = await begun(partials := opened(folder), "anna")
    for stranger in ("ben", ""):
        with pytest.raises(Unknown):
            await partials.find(upload.id, stranger)


@pytest.mark.parametrize("name", ["", "..", "../library.db", "a" * 31, "A" * 32, "0" * 32, f"{'0' * 32}\n"])
async def test_no_name_leads_anywhere_else(folder: Path, name: str) -> None:
    with pytest.raises(Unknown):
        await opened(folder).find(name, "")


@settings(max_examples=60)
@given(st.lists(st.tuples(st.sampled_from(["counts", "breaks", "restart"]), st.integers(1, 900)), max_size=12))
def test_what_counts_is_what_was_acknowledged_however_often_it_breaks(steps: Sequence[tuple[str, int]]) -> None:
    async def story(folder: Path) -> None:
        partials = opened(folder)
        upload = await begun(partials)
        for step, size in [*steps, ("counts", LENGTH)]:
            if step == "restart":
                partials = opened(folder)
            upload = await partials.find(upload.id, "")
            end = min(upload.offset + size, LENGTH)
            with partials.tail(upload, None) as part:
                part.write(WHOLE[upload.offset : end] if step == "counts" else b"\xff" * (end - upload.offset))
                await (part.commit() if step == "counts" else part.flush())
            expected = end if step == "counts" else upload.offset
            assert (await partials.find(upload.id, "")).offset == expected
        upload = await partials.find(upload.id, "")
        assert upload.complete
        assert await content(partials, upload) == WHOLE

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(story(Path(folder)))


async def test_bytes_are_durable_before_they_count(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A power cut at any moment leaves an offset behind which nothing is missing."""
    upload = await begun(partials := opened(folder))
    inode = partials.path(upload).stat().st_ino
    order: list[str] = []

    def noted(name: str, call: Callable[..., int | None]) -> Callable[..., int | None]:
        def act(fd: int, *rest: bytes | int) -> int | None:
            kind = "bytes" if os.fstat(fd).st_ino == inode else "state"
            order.append(f"{name} {kind}")
            return call(fd, *rest)

        return act

    for name in ("pwrite", "fsync"):
        monkeypatch.setattr(tail.os, name, noted(name, getattr(os, name)))
    await add(partials, upload, WHOLE)
    assert order == ["pwrite bytes", "fsync bytes", "pwrite state", "fsync state"]


async def test_bytes_that_the_disk_has_lost_are_asked_for_again(folder: Path) -> None:
    upload = await add(partials := opened(folder), await begun(partials), WHOLE[:1_000])
    os.truncate(folder / upload.id, 600)
    assert (await partials.find(upload.id, "")).offset == 600


async def test_a_full_disk_is_said_and_keeps_what_was_acknowledged(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = await begin(client)
    await patch(client, url, 0, DATA[:1_000])

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as disk:
        disk.setattr(tail.os, "pwrite", full)
        answer = await patch(client, url, 1_000, DATA[1_000:])
    assert (answer.status_code, answer.json()["success"]) == (507, False)
    assert await offset_of(client, url) == 1_000
    with monkeypatch.context() as disk:
        disk.setattr(tail.os, "fsync", full)
        assert (await patch(client, url, 1_000, DATA[1_000:2_000])).status_code == 507
    assert await offset_of(client, url) == 1_000
    assert (await patch(client, url, 1_000, DATA[1_000:])).headers["sploot-duplicate"] == "false"


async def test_a_crash_before_the_outcome_was_noted_costs_nothing(client: httpx.AsyncClient) -> None:
    """Complete on the disk, and the library knows it or does not: the next request finds out."""
    url = await begin(client)
    whole = pieces(DATA)

    def crash(*_: object) -> None:
        raise RuntimeError("crashed")

    with pytest.MonkeyPatch.context() as crashing:
        crashing.setattr(Partials, "_end", crash)
        assert (await patch(client, url, 0, whole)).status_code == 500
    head = await client.head(url, headers=PLAIN)
    assert (head.headers["upload-offset"], "sploot-asset-id" in head.headers) == (str(len(DATA)), False)
    last = await patch(client, url, len(DATA), b"")
    assets = (await client.get("/api/assets")).json()["assets"]
    assert [last.headers["sploot-asset-id"]] == [asset["id"] for asset in assets]


async def test_what_is_left_alone_expires(folder: Path) -> None:
    partials = opened(folder)
    fresh, left, ended = [await add(partials, await begun(partials), WHOLE) for _ in range(3)]
    await partials.end(ended, Outcome("asset", created=True))
    assert not (folder / ended.id).exists()
    for upload, age_s in ((left, KEPT_S), (ended, ENDED_KEPT_S)):
        os.utime(folder / f"{upload.id}.state", times=(0, time.time() - age_s - 1))
        with pytest.raises(Unknown):
            await partials.find(upload.id, "")
    assert partials.sweep() == 2
    assert names(folder) == {fresh.id, f"{fresh.id}.state"}


async def test_a_sweep_leaves_alone_what_somebody_is_sending_to(folder: Path) -> None:
    upload = await begun(partials := opened(folder))
    os.utime(folder / f"{upload.id}.state", times=(0, 0))
    async with partials.turn(upload.id):
        assert partials.sweep() == 0
    assert partials.sweep() == 1


async def test_what_a_crash_has_left_between_two_steps_is_swept_at_the_start(folder: Path) -> None:
    upload = await begun(opened(folder))
    (folder / ("1" * 32)).write_bytes(b"its state was never written")
    (folder / f"{'2' * 32}.new").write_bytes(b"half a sta")
    (folder / f"{'3' * 32}.state").write_text("rubbish")
    for stray in ("1" * 32, f"{'2' * 32}.new"):
        os.utime(folder / stray, (0, 0))
    (folder / ("4" * 32)).write_bytes(b"another server is just beginning it")
    opened(folder)
    (folder / ("4" * 32)).unlink()
    assert names(folder) == {upload.id, f"{upload.id}.state"}


async def test_of_too_many_the_one_that_was_left_longest_ago_gives_way(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But not one that somebody is sending to, and nobody else's."""
    monkeypatch.setattr(partial, "UNFINISHED_MAX", 5)
    partials = opened(folder)
    ended, others = await begun(partials), await begun(partials, "somebody else")
    await partials.end(ended, Outcome("asset", created=True))
    mine = [await begun(partials) for _ in range(5)]
    for upload, age_s in zip(mine, (500, 400, 300, 200, 100), strict=True):
        os.utime(folder / f"{upload.id}.state", times=(0, time.time() - age_s))
    async with partials.turn(mine[0].id):
        await begun(partials)
        await begun(partials)
    for upload in (ended, others, mine[0], *mine[3:]):
        await partials.find(upload.id, upload.owner)
    for upload in mine[1:3]:
        with pytest.raises(Unknown):
            await partials.find(upload.id, "")


async def test_whoever_sends_has_the_turn_and_whoever_is_silent_loses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that broke without a word must not lock its client out when that comes back."""
    monkeypatch.setattr(turns, "SILENT_S", 0.05)
    all_turns, taken, ended = Turns(), asyncio.Event(), asyncio.Event()

    async def hold(*, silent: bool) -> None:
        async with all_turns.of("upload") as turn, turn.receiving():
            taken.set()
            while not ended.is_set():
                if not silent:
                    turn.heard()
                await asyncio.sleep(0)

    sender = asyncio.create_task(hold(silent=False))
    await taken.wait()
    with pytest.raises(Held):
        async with all_turns.of("upload"):
            raise AssertionError("two have the turn")
    ended.set()
    await sender
    ended.clear()
    taken.clear()
    silent = asyncio.create_task(hold(silent=True))
    await taken.wait()
    async with all_turns.of("upload"):
        with pytest.raises(TimeoutError):
            await silent


async def test_two_servers_on_one_folder_exclude_each_other(folder: Path) -> None:
    one, other = opened(folder), opened(folder)
    upload = await begun(one)
    async with one.turn(upload.id):
        with pytest.raises(Held):
            async with other.turn(upload.id):
                raise AssertionError("two have the turn")
    async with other.turn(upload.id):
        await add(other, upload, WHOLE[:100])
    assert (await one.find(upload.id, "")).offset == 100
