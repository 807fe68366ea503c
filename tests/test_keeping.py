"""What the daemon answers about what is kept: whether the library has it, where it was put, copies of the queue."""

import asyncio
import hashlib
import os
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from controlled import PNG, House, controlled

from splootd.control import keeping
from splootd.errors import RequestError, Unreachable
from splootd.protocol import Add, Added, Backup, Done, Retry, Story, Undo, Undone, Why
from splootd.remote.answers import Found

SHA = hashlib.sha256(PNG + b"a.png").digest()


class Asked:
    """A library's answer to the question by hash."""

    def __init__(self, house: House) -> None:
        self.there = True
        self.error: Exception | None = None
        self.hangs = False
        self.count = 0
        house.library.check = self.check  # type: ignore[attr-defined]

    async def check(self, sha256: bytes, *, aside: bool) -> Found | None:
        assert aside, "a person does not wait behind uploads"
        self.count += 1
        if self.hangs:
            await asyncio.Event().wait()
        if self.error:
            raise self.error
        return Found("a1", embedded=True) if self.there else None


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with controlled(tmp_path) as house:
        yield house


@pytest.fixture
def asked(house: House) -> Asked:
    return Asked(house)


async def ready(house: House, name: str = "a.png") -> str:
    """A file that is in the library; its path."""
    await house.add(name)
    queue, now = house.parts.queue, house.parts.clock.now()
    (item,) = [item for item in await house.parts.listing.items(limit=10) if item.path.endswith(os.fsencode(name))]
    await queue.bump([item.id], now=now)
    leased = await queue.claim_urgent(now=now)
    assert leased is not None
    await queue.accept(leased, asset_id="a1", sha256=SHA, duplicate=False, embedded=True, now=now)
    return str(house.folder / name)


async def test_why_asks_the_library_about_what_is_searchable_and_about_nothing_else(house: House, asked: Asked):
    await house.add("waiting.png")
    story = await house.ask(Why(str(house.folder / "waiting.png")), Story)
    assert (asked.count, story.removed_at) == (0, None)
    path = await ready(house)
    story = await house.ask(Why(path), Story)
    assert (asked.count, story.removed_at, story.next) == (1, None, "Nothing: it is searchable.")


async def test_why_says_since_when_it_is_gone_and_the_ledger_learns_it(house: House, asked: Asked):
    path = await ready(house)
    asked.there = False
    first = await house.ask(Why(path), Story)
    assert first.removed_at is not None
    assert "It was removed in the library since" in first.next
    assert (await house.ask(Why(path), Story)).removed_at == first.removed_at
    asked.there = True  # its owner has put it back
    assert (await house.ask(Why(path), Story)).removed_at is None
    content = await house.parts.ledger.content(SHA)
    assert content is not None
    assert content.removed_at is None


@pytest.mark.parametrize("hangs", [True, False])
async def test_why_answers_in_bounded_time_whatever_the_library_does(
    house: House, asked: Asked, monkeypatch: pytest.MonkeyPatch, hangs: bool
):
    monkeypatch.setattr(keeping, "ASK_S", 0.05)
    path = await ready(house)
    asked.hangs, asked.error = hangs, Unreachable("gone")
    story = await house.ask(Why(path), Story)
    assert story.removed_at is None
    assert story.next.endswith("The library could not be asked just now whether it still has it.")


@pytest.mark.parametrize("word", ["", "shred", "move", "move:", "move:relative", "move:/no/such/folder", "keep:/tmp"])
async def test_a_wish_that_cannot_be_fulfilled_is_refused_before_anything_is_queued(house: House, word: str):
    (house.folder / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(RequestError) as refused:
        await house.ask(Add((str(house.folder / "a.png"),), after=word), Added)
    assert refused.value.code == "bad_after"
    assert (await house.parts.listing.counts()).total == 0


async def test_a_folder_is_watched_with_its_wish_and_adding_it_again_changes_it(house: House, tmp_path: Path):
    for word in (f"move:{tmp_path}", "trash", "keep"):
        await house.ask(Add((str(house.folder),), after=word), Added)
        (folder,) = await house.parts.arrivals.folders()
        assert (folder.after.word if folder.after else b"keep") == os.fsencode(word)


async def test_what_comes_back_is_told_and_what_does_not_says_why(house: House, asked: Asked):
    path = await ready(house)
    (item,) = await house.parts.listing.items(limit=10)
    await house.ask(Add((path,), after="trash"), Added)
    await house.parts.aftercare.run_once()
    assert not Path(path).exists()  # noqa: ASYNC240 - a moment
    undone = await house.ask(Undo(ids=(item.id, 99)), Undone)
    assert [(each.path, each.outcome) for each in undone.paths] == [(path, "back"), ("99", "not_found")]
    assert Path(path).exists()  # noqa: ASYNC240 - a moment
    with pytest.raises(RequestError, match="say what to bring back"):
        await house.ask(Undo(), Undone)
    with pytest.raises(RequestError, match="was not put away, or is back already"):
        await house.ask(Undo(last=True), Undone)
    with pytest.raises(RequestError, match="say what to retry"):
        await house.ask(Retry(), Done)


async def test_a_copy_of_the_queue_is_made_where_it_harms_nothing(house: House, tmp_path: Path):
    await house.add("a.png")
    done = await house.ask(Backup(str(tmp_path / "copy.db")), Done)
    assert str(tmp_path / "copy.db") in done.message
    connection = sqlite3.connect(tmp_path / "copy.db")
    assert connection.execute("SELECT count(*) FROM items").fetchone() == (1,)
    connection.close()
    for file in ("copy.db", "", str(tmp_path), str(tmp_path / "queue.db"), str(tmp_path / "queue.db-wal"), "/no/x.db"):
        with pytest.raises(RequestError):
            await house.ask(Backup(file), Done)
    assert house.parts.database.path.exists()
