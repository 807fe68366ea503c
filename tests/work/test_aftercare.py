"""A file is put away only when the library has it for sure; and whatever fails, it is in one place and comes back."""

import asyncio
import errno
import hashlib
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from scripted import dropping, replying
from walkkit import Walk, jpeg, walking

from splootd.core.after import After
from splootd.core.item import Item, Priority, State
from splootd.errors import RequestError, ServerError
from splootd.store.arrivals import Candidate, Origin
from splootd.store.moves import Moves, Whereabouts
from splootd.work import aftercare as it
from splootd.work import carry
from splootd.work.aftercare import MISSING_S, Aftercare
from splootd.work.files import look
from splootd.work.trash import Trash

TRASH = After(None)


@dataclass
class House:
    """A walk to a scripted server, with an aftercare whose trash is in a home of its own."""

    walk: Walk
    moves: Moves
    aftercare: Aftercare
    home: Path
    shelf: Path

    @property
    def to_shelf(self) -> After:
        return After(bytes(self.shelf))

    @property
    def trashed(self) -> Path:
        return self.home / ".local/share/Trash/files"

    @property
    def notes(self) -> list[str]:
        info = self.home / ".local/share/Trash/info"
        return sorted(each.name for each in info.iterdir()) if info.exists() else []

    async def ready(self, name: str, after: After, content: bytes | None = None) -> Item:
        """A file that is in the library and searchable, and is to be put away."""
        path = self.walk.folder / name
        path.write_bytes(jpeg(name) if content is None else content)
        os.utime(path, (1e9, 1e9))
        origin = Origin(None, None, Priority.NORMAL, (), force=False, after=after)
        (arrival,) = await self.walk.store.arrivals.offer(
            [Candidate(bytes(path), look(bytes(path)), None)],
            origin,
            still_there=carry_is_at,
            now=self.walk.clock.now(),
        )
        await self.walk.take(arrival.item_id)
        await self.walk.tracker.run_once()
        item = await self.walk.store.item(arrival.item_id)
        assert item.state is State.READY
        return item

    async def reasons(self, item: Item) -> list[str]:
        return [line.reason for line in await self.walk.store.listing.attempts(item.id)]

    async def wished(self) -> list[int]:
        return [wish.item.id for wish in await self.moves.wishes(beyond=0, limit=100)]

    def another(self) -> Aftercare:
        """As a daemon that starts later has it."""
        walk = self.walk
        return Aftercare(
            self.moves,
            walk.store.ledger,
            walk.server,
            walk.gate,
            clock=walk.clock,
            bells=walk.store.bells,
            trash=Trash({"HOME": str(self.home)}, platform="linux"),
        )


def carry_is_at(path: bytes, version: Any) -> bool:
    return carry.is_at(Path(os.fsdecode(path)), version)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with walking(tmp_path) as walk:
        home, shelf = tmp_path / "home", tmp_path / "shelf"
        home.mkdir()
        shelf.mkdir()
        moves = Moves(walk.store.database, server_id=walk.store.server, bells=walk.store.bells)
        house = House(walk, moves, None, home, shelf)  # type: ignore[arg-type]  # the next line
        house.aftercare = house.another()
        yield house


def here(item: Item) -> Path:
    return Path(os.fsdecode(item.path))


async def test_what_the_library_has_goes_to_the_folder_and_its_row_with_it(house: House) -> None:
    item = await house.ready("a.jpg", house.to_shelf)
    assert not await house.aftercare.run_once()
    assert not here(item).exists()
    assert (house.shelf / "a.jpg").read_bytes() == jpeg("a.jpg")
    now = await house.walk.store.item(item.id)
    assert (now.path, now.state) == (bytes(house.shelf / "a.jpg"), State.READY)
    assert await house.wished() == []


async def test_what_the_library_has_goes_into_the_trash_with_a_note(house: House) -> None:
    item = await house.ready("a.jpg", TRASH)
    await house.aftercare.run_once()
    assert not here(item).exists()
    assert (house.trashed / "a.jpg").read_bytes() == jpeg("a.jpg")
    assert house.notes == ["a.jpg.trashinfo"]
    assert (await house.walk.store.item(item.id)).path == item.path


async def test_before_it_is_searchable_nothing_is_put_away(house: House) -> None:
    house.walk.sploot.embeds_at_once = False
    path = house.walk.folder / "a.jpg"
    path.write_bytes(jpeg("a"))
    origin = Origin(None, None, Priority.NORMAL, (), force=False, after=TRASH)
    candidate = Candidate(bytes(path), look(bytes(path)), None)
    (arrival,) = await house.walk.store.arrivals.offer([candidate], origin, still_there=carry_is_at, now=1.0)
    await house.aftercare.run_once()
    assert (await house.walk.take(arrival.item_id)).state is State.EMBEDDING
    await house.aftercare.run_once()
    assert path.exists()
    assert await house.moves.last() is None


@pytest.mark.parametrize("fate", ["dead", "gone", "skipped"])
async def test_what_did_not_reach_the_library_is_not_touched(house: House, fate: str) -> None:
    if fate == "dead":
        house.walk.sploot.script("upload", replying(400, {"error": "refused"}))
    content = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(50) if fate == "skipped" else jpeg("a")
    path = house.walk.folder / "a.jpg"
    path.write_bytes(content)
    origin = Origin(None, None, Priority.NORMAL, (), force=False, after=TRASH)
    candidate = Candidate(bytes(path), look(bytes(path)), None)
    (arrival,) = await house.walk.store.arrivals.offer([candidate], origin, still_there=carry_is_at, now=1.0)
    if fate == "gone":
        path.rename(house.walk.folder / "elsewhere.jpg")
    assert (await house.walk.take(arrival.item_id)).state == fate
    await house.aftercare.run_once()
    assert len(list(house.walk.folder.iterdir())) == 1
    assert not house.trashed.exists()


async def test_what_the_server_has_lost_meanwhile_is_kept(house: House) -> None:
    item = await house.ready("a.jpg", TRASH)
    house.walk.sploot.assets.clear()
    await house.aftercare.run_once()
    assert here(item).exists()
    assert await house.reasons(item) == ["it was kept: the library does not have it any more"]
    assert await house.wished() == []
    content = await house.walk.store.ledger.content(hashlib.sha256(jpeg("a.jpg")).digest())
    assert content is not None
    assert content.removed_at is not None


@pytest.mark.parametrize("trouble", [dropping, replying(500, {"error": "no"}), replying(200, b"<html>")])
async def test_without_an_answer_nothing_is_put_away_and_it_is_asked_again(house: House, trouble: Any) -> None:
    item = await house.ready("a.jpg", TRASH)
    house.walk.sploot.script("check", trouble)
    with pytest.raises(ServerError):
        await house.aftercare.run_once()
    assert here(item).exists()
    await house.aftercare.run_once()
    assert not here(item).exists()


async def test_a_file_that_has_changed_is_kept(house: House) -> None:
    item = await house.ready("a.jpg", TRASH)
    here(item).write_bytes(jpeg("b.jpg"))
    await house.aftercare.run_once()
    assert here(item).read_bytes() == jpeg("b.jpg")
    assert await house.reasons(item) == ["it was kept: it has changed since it was sent"]


async def test_other_bytes_under_the_same_times_are_noticed(house: House) -> None:
    """Whoever sets the times back deceives the eye, not the hash."""
    item = await house.ready("a.jpg", TRASH)
    content = jpeg("b.jpg")
    assert len(content) == item.version.size
    with here(item).open("r+b") as stream:
        stream.write(content)
    os.utime(here(item), ns=(item.version.mtime_ns, item.version.mtime_ns))
    assert look(item.path) == item.version
    await house.aftercare.run_once()
    assert here(item).read_bytes() == content


async def test_a_file_that_changes_while_the_library_is_asked_is_kept(house: House) -> None:
    item = await house.ready("a.jpg", TRASH)

    async def changing(request: Any) -> Any:
        here(item).write_bytes(jpeg("b.jpg"))
        return await house.walk.sploot.act(request)

    house.walk.sploot.script("check", changing)
    await house.aftercare.run_once()
    assert here(item).read_bytes() == jpeg("b.jpg")
    assert house.notes == []
    assert await house.moves.under_way() == []


async def test_a_hard_link_is_kept(house: House) -> None:
    item = await house.ready("a.jpg", TRASH)
    os.link(here(item), house.walk.folder / "b.jpg")
    await house.aftercare.run_once()
    assert here(item).exists()
    assert await house.reasons(item) == ["it was kept: the file has another name, too (a hard link)"]


async def test_two_files_of_one_name_both_find_a_place(house: House) -> None:
    (house.shelf / "a.jpg").write_bytes(b"mine")
    item = await house.ready("a.jpg", house.to_shelf)
    await house.aftercare.run_once()
    assert (house.shelf / "a.jpg").read_bytes() == b"mine"
    assert (house.shelf / "a (2).jpg").read_bytes() == jpeg("a.jpg")
    assert (await house.walk.store.item(item.id)).path == bytes(house.shelf / "a (2).jpg")


async def test_a_folder_that_is_away_is_waited_for(house: House) -> None:
    item = await house.ready("a.jpg", house.to_shelf)
    house.shelf.rename(house.home / "away")
    assert await house.aftercare.run_once()
    assert here(item).exists()
    (house.home / "away").rename(house.shelf)
    assert not await house.aftercare.run_once()
    assert (house.shelf / "a.jpg").exists()


async def test_a_file_that_is_not_there_is_waited_for_a_day(house: House) -> None:
    """Its disk may be away, or its new name not be known yet: nothing is concluded."""
    item = await house.ready("a.jpg", TRASH)
    here(item).unlink()
    assert await house.aftercare.run_once()
    assert await house.wished() == [item.id]
    house.walk.clock.ahead_s += MISSING_S
    assert not await house.aftercare.run_once()
    assert await house.wished() == []


async def test_another_disk_keeps_the_file_where_it_is(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    item = await house.ready("a.jpg", house.to_shelf)

    def no_link(*_: Any, **__: Any) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", no_link)
    await house.aftercare.run_once()
    assert here(item).exists()
    (reason,) = await house.reasons(item)
    assert reason == "it was kept: the folder that it was to be moved to is on another disk"


class Crash(BaseException):
    """The power goes."""


def crashing(act: Callable[..., Any], *, after: bool) -> Callable[..., Any]:
    def acts(*arguments: Any, **options: Any) -> Any:
        if after:
            act(*arguments, **options)
        raise Crash

    return acts


CRASHES = [
    (step, after, is_undo)
    for step in ("write_note", "link", "unlink")
    for after in (False, True)
    for is_undo in (False, True)
    if step != "write_note" or not is_undo  # nothing is written on the way back
]


@pytest.mark.parametrize(("step", "after", "is_undo"), CRASHES)
async def test_after_a_crash_at_any_step_the_file_is_in_one_place_and_the_journal_says_which(
    house: House, step: str, after: bool, is_undo: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    item = await house.ready("a.jpg", TRASH)
    if is_undo:
        await house.aftercare.run_once()
    where = it if step == "write_note" else os
    with monkeypatch.context() as crash:
        crash.setattr(where, step, crashing(getattr(where, step), after=after))
        with pytest.raises(Crash):
            await (house.aftercare.undo(None) if is_undo else house.aftercare.run_once())
    assert len(await house.moves.under_way()) == 1
    await house.another().settle()
    assert await house.moves.under_way() == []
    there = house.trashed / "a.jpg"
    assert here(item).exists() != there.exists()
    kept = here(item) if here(item).exists() else there
    assert kept.read_bytes() == jpeg("a.jpg")
    assert kept.stat().st_nlink == 1
    move = await house.moves.of_item(item.id)
    assert (move is not None) == there.exists()
    assert bool(house.notes) == there.exists()
    # And it goes on from there.
    if there.exists():
        assert await house.another().undo(item.id) == (item.id, item.path)
    elif not is_undo:
        await house.another().run_once()
        assert there.exists()


async def test_a_disk_in_trouble_is_no_reason_to_end(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither at the start, when the journal is settled, nor later."""
    monkeypatch.setattr(it, "TROUBLE_PAUSE_S", 0.0)
    monkeypatch.setattr(it, "BREATH_S", 0.0)
    item = await house.ready("a.jpg", TRASH)
    await house.moves.begin(item, target=bytes(house.trashed / "a.jpg"), is_trashed=True, note=None, now=1.0)
    whereabouts, failures = it._whereabouts, [OSError(errno.EIO, "Input/output error")] * 2

    def failing(move: Any) -> Whereabouts:
        if failures:
            raise failures.pop()
        return whereabouts(move)

    monkeypatch.setattr(it, "_whereabouts", failing)
    running = asyncio.create_task(house.another().run())
    try:
        async with asyncio.timeout(30):
            while not (house.trashed / "a.jpg").exists():
                ticket = house.walk.store.bells.news.ticket()
                await house.walk.store.bells.news.wait(ticket, 0.05)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert not here(item).exists()


async def test_a_crash_between_the_journal_and_the_disk_loses_nothing(house: House) -> None:
    item = await house.ready("a.jpg", TRASH)
    move = await house.moves.begin(
        item, target=bytes(house.trashed / "a.jpg"), is_trashed=True, note=None, now=house.walk.clock.now()
    )
    assert move is not None
    await house.another().settle()
    assert here(item).exists()
    assert await house.wished() == [item.id]


async def test_what_somebody_else_took_away_in_between_is_lost_and_not_looked_for_again(house: House) -> None:
    item = await house.ready("a.jpg", TRASH)
    await house.moves.begin(item, target=bytes(house.trashed / "a.jpg"), is_trashed=True, note=None, now=1.0)
    here(item).unlink()
    await house.another().settle()
    states = await house.walk.store.rows("SELECT state FROM moves")
    assert states == [(Whereabouts.LOST.value,)]
    assert await house.wished() == []


# The way back.


async def test_what_was_put_away_comes_back_and_stays(house: House) -> None:
    for after, name in ((TRASH, "a.jpg"), (house.to_shelf, "b.jpg")):
        item = await house.ready(name, after)
        await house.aftercare.run_once()
        assert await house.aftercare.undo(item.id) == (item.id, item.path)
        assert here(item).read_bytes() == jpeg(name)
        assert (await house.walk.store.item(item.id)).path == item.path
        assert house.notes == []
        await house.aftercare.run_once()
        assert here(item).exists()


async def test_the_last_one_comes_back_first(house: House) -> None:
    items = [await house.ready(name, TRASH) for name in ("a.jpg", "b.jpg")]
    await house.aftercare.run_once()
    assert [await house.aftercare.undo(None), await house.aftercare.undo(None)] == [
        (item.id, item.path) for item in reversed(items)
    ]
    with pytest.raises(RequestError, match="any file was not put away, or is back already"):
        await house.aftercare.undo(None)


async def test_where_another_file_is_by_now_it_gets_a_number(house: House) -> None:
    item = await house.ready("a.jpg", TRASH)
    await house.aftercare.run_once()
    here(item).write_bytes(b"new")
    _, path = await house.aftercare.undo(item.id)
    assert path == bytes(house.walk.folder / "a (2).jpg")
    assert here(item).read_bytes() == b"new"
    assert (await house.walk.store.item(item.id)).path == path


async def test_its_folder_is_made_again(house: House) -> None:
    (house.walk.folder / "inner").mkdir()
    item = await house.ready("inner/a.jpg", TRASH)
    await house.aftercare.run_once()
    (house.walk.folder / "inner").rmdir()
    await house.aftercare.undo(item.id)
    assert here(item).read_bytes() == jpeg("inner/a.jpg")


@pytest.mark.parametrize("is_changed", [True, False])
async def test_what_is_no_longer_in_the_trash_cannot_come_back(house: House, is_changed: bool) -> None:
    item = await house.ready("a.jpg", TRASH)
    await house.aftercare.run_once()
    (house.trashed / "a.jpg").unlink()
    if is_changed:
        (house.trashed / "a.jpg").write_bytes(b"another")
    with pytest.raises(RequestError, match=r"a\.jpg cannot be brought back: it is no longer where it was put"):
        await house.aftercare.undo(item.id)
    assert not here(item).exists()


async def test_the_worker_puts_away_what_becomes_ready_and_outlives_trouble(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(it, "BREATH_S", 0.0)
    monkeypatch.setattr(it, "TROUBLE_PAUSE_S", 0.0)
    house.walk.sploot.script("check", replying(body={"exists": False}), dropping)
    running = asyncio.create_task(house.aftercare.run())
    try:
        item = await house.ready("a.jpg", house.to_shelf)
        async with asyncio.timeout(30):
            while not (house.shelf / "a.jpg").exists():
                ticket = house.walk.store.bells.news.ticket()
                await house.walk.store.bells.news.wait(ticket, 0.1)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert not here(item).exists()
