"""Files as they are found: each has a clear outcome and a sentence, and none holds up another."""

import asyncio
import hashlib
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import specimens
from scripted import Reply, Request, held
from walkkit import HEAD, Walk, jpeg, walking

from splootd.core.item import State
from splootd.work.files import HELD_BYTES_MAX

LONG_AGO = (1e9, 1e9)
OUTCOMES = {
    "empty": (State.DEAD, "empty"),
    "text": (State.DEAD, "not_an_image"),
    "over_limit": (State.DEAD, "too_large"),
    "heic": (State.SKIPPED, "unsupported"),
    "avif": (State.SKIPPED, "unsupported"),
    "mp4": (State.SKIPPED, "unsupported"),
    "truncated": (State.EMBEDDING, None),
    "newline": (State.EMBEDDING, None),
    "non_utf8": (State.EMBEDDING, None),
}


@pytest.fixture
async def walk(tmp_path: Path) -> AsyncIterator[Walk]:
    async with walking(tmp_path) as walk:
        yield walk


@pytest.mark.parametrize("kind", OUTCOMES)
async def test_odd_files_end_with_a_sentence(walk: Walk, kind: str) -> None:
    path = specimens.odd(walk.folder / "odd").get(kind)
    if path is None:
        pytest.skip("this system cannot make such a file")
    os.utime(path, LONG_AGO)
    item = await walk.take(await walk.queue(path))
    assert (item.state, item.fault) == OUTCOMES[kind]
    if item.state is not State.EMBEDDING:
        assert path.name in (item.reason or "")
        assert walk.sploot.count("upload") == 0


async def test_too_large_is_said_with_both_numbers_and_a_remedy(walk: Walk) -> None:
    walk.sploot.bytes_max = 1_000
    item = await walk.take(await walk.add("cat.jpg", jpeg("cat", 14_200)))
    assert item.reason == "cat.jpg is 14.2 KB; the server takes at most 1 KB: make it smaller, then `sploot retry`"


async def test_a_file_that_became_a_fifo_blocks_nobody(walk: Walk) -> None:
    item_id = await walk.add("a.jpg")
    (walk.folder / "a.jpg").unlink()
    os.mkfifo(walk.folder / "a.jpg")
    item = await walk.take(item_id)
    assert (item.state, item.fault) == (State.DEAD, "not_a_file")


async def test_a_file_that_became_a_link_is_not_followed(walk: Walk) -> None:
    item_id = await walk.add("a.jpg")
    (walk.folder / "a.jpg").rename(walk.folder / "b.jpg")
    (walk.folder / "a.jpg").symlink_to("b.jpg")
    item = await walk.take(item_id)
    assert (item.state, item.fault) == (State.DEAD, "not_a_file")


async def test_a_file_that_vanished_is_gone(walk: Walk) -> None:
    item_id = await walk.add("a.jpg")
    (walk.folder / "a.jpg").unlink()
    assert (await walk.take(item_id)).state is State.GONE


async def test_a_file_that_may_not_be_read_says_what_to_do(walk: Walk, monkeypatch: pytest.MonkeyPatch) -> None:
    item_id = await walk.add("a.jpg")

    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("splootd.work.files.os.open", refuse)
    item = await walk.take(item_id)
    assert (item.state, item.fault) == (State.DEAD, "unreadable")
    assert "chmod" in (item.reason or "")


async def test_a_file_that_changed_since_it_was_queued_is_sent_as_it_is_now(walk: Walk) -> None:
    item_id = await walk.add("a.jpg")
    (walk.folder / "a.jpg").write_bytes(jpeg("new"))
    os.utime(walk.folder / "a.jpg", LONG_AGO)
    item = await walk.take(item_id)
    assert (item.state, item.attempts) == (State.PENDING, 0)
    assert await walk.story(item_id) == ["disturbed"]
    await walk.later(10)
    assert (await walk.take(item_id)).state is State.EMBEDDING
    assert set(walk.sploot.stored) == {hashlib.sha256(jpeg("new")).hexdigest()}


async def test_a_file_that_changes_while_it_is_sent_is_sent_in_both_versions(walk: Walk) -> None:
    release = asyncio.Event()
    walk.sploot.script("upload", held(walk.sploot, release))
    item_id = await walk.add("a.jpg", jpeg("old"))
    taking = asyncio.create_task(walk.take(item_id))
    await walk.sploot.until(lambda sploot: sploot.uploads == 1)
    (walk.folder / "a.jpg").write_bytes(jpeg("new"))
    release.set()
    assert (await taking).state is State.PENDING
    await walk.later(10)
    assert (await walk.take(item_id)).state is State.EMBEDDING
    assert set(walk.sploot.stored) == {hashlib.sha256(jpeg(each)).hexdigest() for each in ("old", "new")}


async def test_a_file_that_vanishes_while_it_is_sent_has_arrived_all_the_same(walk: Walk) -> None:
    release = asyncio.Event()
    walk.sploot.script("upload", held(walk.sploot, release))
    item_id = await walk.add("a.jpg")
    taking = asyncio.create_task(walk.take(item_id))
    await walk.sploot.until(lambda sploot: sploot.uploads == 1)
    (walk.folder / "a.jpg").unlink()
    release.set()
    assert (await taking).state is State.EMBEDDING


async def test_a_large_file_that_changes_between_hashing_and_sending_is_never_stored(walk: Walk) -> None:
    path = walk.folder / "large.jpg"
    item_id = await walk.add("large.jpg", HEAD + bytes(2 * HELD_BYTES_MAX) + b"\xff\xd9")

    async def change(request: Request) -> Reply:
        with path.open("r+b") as stream:
            stream.seek(HELD_BYTES_MAX)
            stream.write(b"other bytes, of the same length and with the same time")
        os.utime(path, LONG_AGO)
        return await walk.sploot.act(request)

    walk.sploot.script("check", change)
    item = await walk.take(item_id)
    assert (item.state, item.attempts) == (State.PENDING, 0)
    assert await walk.story(item_id) == ["disturbed"]
    assert not walk.sploot.stored
    await walk.later(10)
    assert (await walk.take(item_id)).state is State.EMBEDDING


async def test_a_fresh_file_without_its_end_waits_as_still_being_written(walk: Walk) -> None:
    item_id = await walk.add("a.jpg")
    path = walk.folder / "a.jpg"
    path.write_bytes(HEAD + bytes(5_000))
    os.utime(path, (time.time(), time.time()))
    await walk.queue(path)
    item = await walk.take(item_id)
    assert (item.state, item.fault) == (State.PENDING, "disturbed")
    assert "may still be being written" in (item.reason or "")
    await walk.later(60)
    assert (await walk.take(item_id)).state is State.EMBEDDING


async def test_small_memory_is_enough_for_any_file(tmp_path: Path) -> None:
    async with walking(tmp_path, memory_bytes=1_000_000) as walk:
        for number in range(10):
            await walk.add(f"{number}.jpg", HEAD + os.urandom(400_000 * number) + b"\xff\xd9")
        walk.start()
        assert (await walk.until_through())[State.EMBEDDING] == 10
        assert walk.budget.taken == 0
