"""What was removed on the server stays removed, until somebody says otherwise; and nothing here removes anything."""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from scripted import dropping, replying
from walkkit import Walk, jpeg, walking
from watchkit import BRISK

from splootd.config import Config
from splootd.core.item import Item, Priority, State
from splootd.store.ledger import Content
from splootd.work.intake import Intake
from splootd.work.uploader import SEEN_S
from splootd.work.watcher import Watcher

ONE = jpeg("one")


@pytest.fixture
async def walk(tmp_path: Path) -> AsyncIterator[Walk]:
    async with walking(tmp_path) as walk:
        yield walk


async def known(walk: Walk) -> Content:
    content = await walk.store.ledger.content(hashlib.sha256(ONE).digest())
    assert content is not None
    return content


async def sent_and_searchable(walk: Walk) -> Item:
    """One file is in the library, and some time has gone by since."""
    item = await walk.take(await walk.add("a.jpg", ONE))
    await walk.tracker.run_once()
    await walk.later(SEEN_S + 1)
    item = await walk.store.item(item.id)
    assert item.state is State.READY
    return item


async def test_a_known_content_is_asked_about_and_not_sent(walk: Walk) -> None:
    await sent_and_searchable(walk)
    copy = await walk.take(await walk.add("b.jpg", ONE))
    assert (copy.state, copy.duplicate) == (State.READY, True)
    assert walk.sploot.count("check") == 2
    assert walk.sploot.count("upload") == 1


async def test_a_content_that_was_removed_there_is_not_sent_again(walk: Walk) -> None:
    await sent_and_searchable(walk)
    walk.sploot.assets.clear()
    copy = await walk.take(await walk.add("b.jpg", ONE))
    assert (copy.state, copy.fault) == (State.SKIPPED, "removed")
    assert copy.reason == "b.jpg was removed on the server, and stays so: `sploot add --force` sends it again"
    assert (await known(walk)).removed_at is not None
    assert walk.sploot.count("upload") == 1
    again = await walk.take(await walk.add("c.jpg", ONE))
    assert again.fault == "removed"


async def test_what_its_owner_has_put_back_there_is_there(walk: Walk) -> None:
    await sent_and_searchable(walk)
    await walk.store.ledger.removed(hashlib.sha256(ONE).digest(), now=walk.clock.now())
    copy = await walk.take(await walk.add("b.jpg", ONE))
    assert (copy.state, copy.duplicate) == (State.READY, True)
    assert (await known(walk)).removed_at is None


async def test_by_force_it_is_sent_again(walk: Walk) -> None:
    await sent_and_searchable(walk)
    walk.sploot.assets.clear()
    forced = await walk.take(await walk.add("a.jpg", ONE, force=True))
    assert (forced.state, forced.duplicate) == (State.EMBEDDING, False)
    assert walk.sploot.count("upload") == 2
    assert (await known(walk)).removed_at is None


async def test_by_force_nothing_is_sent_that_is_still_there(walk: Walk) -> None:
    before = await sent_and_searchable(walk)
    forced = await walk.take(await walk.add("a.jpg", ONE, force=True))
    assert forced.id != before.id
    assert (forced.state, forced.duplicate) == (State.READY, True)
    assert walk.sploot.count("upload") == 1


@pytest.mark.parametrize("trouble", [dropping, replying(500, {"error": "no"}), replying(200, b"<html>", {})])
async def test_without_an_answer_nothing_is_concluded(walk: Walk, trouble: object) -> None:
    await sent_and_searchable(walk)
    walk.sploot.always["check"] = trouble  # type: ignore[assignment]  # all of them are acts
    item = await walk.take(await walk.add("b.jpg", ONE))
    assert (item.state, item.attempts) == (State.PENDING, 0)
    assert (await known(walk)).removed_at is None
    del walk.sploot.always["check"]
    await walk.later(60)
    assert (await walk.take(item.id)).state is State.READY


async def test_what_is_deleted_here_is_not_deleted_there(walk: Walk) -> None:
    """Neither by a file nor by its folder, whether somebody watches or not; and no request could do it."""
    inner = walk.folder / "inner"
    inner.mkdir()
    for name in ("a.jpg", "inner/b.jpg", "inner/c.jpg"):
        (walk.folder / name).write_bytes(jpeg(name))
        os.utime(walk.folder / name, (1e9, 1e9))
    intake = Intake(walk.store.arrivals, walk.clock, settle_s=0.0)
    watcher = Watcher(walk.store.arrivals, intake, walk.clock, Config(), rhythm=BRISK)
    status = walk.folder.stat()
    folder = await walk.store.arrivals.watch(
        os.fsencode(walk.folder), device=status.st_dev, inode=status.st_ino, priority=Priority.NORMAL, tags=(), now=1.0
    )
    walk.start(track=True)
    walk.tasks += [asyncio.create_task(intake.run()), asyncio.create_task(watcher.run())]
    await walk.until(lambda counts: counts[State.READY] == 3)
    (walk.folder / "inner/b.jpg").unlink()
    (walk.folder / "inner/c.jpg").unlink()
    inner.rmdir()
    (walk.folder / "last.jpg").write_bytes(jpeg("last"))
    await walk.until(lambda counts: counts[State.READY] == 4)
    walk.folder.joinpath("a.jpg").unlink()
    walk.folder.joinpath("last.jpg").unlink()
    walk.folder.rmdir()
    async with asyncio.timeout(30):
        while watcher.health(folder.id)[0] != "missing":
            ticket = watcher.news.ticket()
            await watcher.news.wait(ticket, 1.0)
    assert (await walk.store.listing.counts()).by_state[State.READY] == 4
    assert len(walk.sploot.assets) == 4
    assert {request.method for request in walk.sploot.requests} == {"GET", "POST"}
