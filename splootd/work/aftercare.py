"""Puts files away, once the library has them: into the trash or into a folder, as the user wished. And back again.

The order is the promise: the file is read once more and is what was sent; the library is asked and has it; the move is
written down; only then the file is touched. After a crash in between the disk says how far it came.
"""

import asyncio
import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from splootd.bus import Bells
from splootd.clock import Clock
from splootd.errors import Exhausted, RequestError, ServerError, StoreFull
from splootd.gate import Gate
from splootd.logs import logger
from splootd.remote.answers import printable
from splootd.remote.api import Server
from splootd.store.ledger import Ledger
from splootd.store.moves import Move, Moves, Whereabouts, Wish
from splootd.work.carry import carry, digest_of, has_one_name, is_at, remove_note, write_note
from splootd.work.files import called
from splootd.work.trash import Place, Trash, free_name

T = TypeVar("T")

WISHES_MAX = 100  # read at once
BREATH_S = 1.0  # between two rounds, however much news there is
TROUBLE_PAUSE_S = 30.0
AWAY_S = 60.0  # until what is not there is looked for again
MISSING_S = 86_400.0  # for so long a file may be on its way to another name


class _Kept(Exception):
    """The file stays where it is, for good; the text says why."""


class _NotYet(Exception):
    """It may be put away another time."""


class Aftercare:
    """One file after the other. `run` it; `undo` brings a file back."""

    def __init__(
        self, moves: Moves, ledger: Ledger, server: Server, gate: Gate, *, clock: Clock, bells: Bells, trash: Trash
    ) -> None:
        self._moves = moves
        self._ledger = ledger
        self._server = server
        self._gate = gate
        self._clock = clock
        self._bells = bells
        self._trash = trash
        self._alone = asyncio.Lock()
        self._log = logger("aftercare")

    async def run(self) -> None:
        is_settled = False
        while True:
            ticket = self._bells.news.ticket()
            try:
                if not is_settled:
                    await self.settle()
                    is_settled = True
                are_left = await self.run_once()
            except (ServerError, Exhausted) as error:
                self._gate.unanswered(error)
                await asyncio.sleep(TROUBLE_PAUSE_S)
            except (StoreFull, OSError) as error:
                self._log.warning("interrupted", error=str(error))
                await asyncio.sleep(TROUBLE_PAUSE_S)
            else:
                await self._bells.news.wait(ticket, AWAY_S if are_left else None)
                await asyncio.sleep(BREATH_S)

    async def run_once(self) -> bool:
        """Put away what is due; whether something has to wait. Raises ServerErrors, Exhausted and StoreFull."""
        beyond, are_left = 0, False
        while wishes := await self._moves.wishes(beyond=beyond, limit=WISHES_MAX):
            for wish in wishes:
                await self._gate.questions_allowed()
                try:
                    async with self._alone:
                        await self._put_away(wish)
                except _NotYet as reason:
                    self._log.info("not put away yet", path=wish.item.path, reason=str(reason))
                    are_left = True
                except _Kept as reason:
                    self._log.info("kept", path=wish.item.path, reason=str(reason))
                    await self._moves.drop(wish.item.id, reason=str(reason), now=self._clock.now())
            beyond = wishes[-1].item.id
        return are_left

    async def settle(self) -> None:
        """What an earlier daemon had begun: it is there or it is back, and the journal says which."""
        for move in await self._moves.under_way():
            await self._note_end(move)

    async def undo(self, item_id: int | None) -> tuple[int, bytes]:
        """Bring back the file of an item, or the one that was put away last: its item and where it is now.

        RequestError when there is none, or it cannot be brought back.
        """
        async with self._alone:
            move = await (self._moves.last() if item_id is None else self._moves.of_item(item_id))
            if move is None:
                which = "any file" if item_id is None else f"the file of item {item_id}"
                raise RequestError("not_found", f"{which} was not put away, or is back already", status=404)
            try:
                return move.item_id, await self._bring_back(move)
            except OSError as error:
                title = f"{called(move.source)} cannot be brought back: {error.strerror or error}"
                raise RequestError("not_brought_back", title, f"it is {_shown(move.target)}") from error

    async def _put_away(self, wish: Wish) -> None:
        await self._verify(wish)
        try:
            place = await _in_thread(lambda: self._place(wish))
        except OSError as error:
            raise _Kept(f"it was kept: there is no place for it ({error.strerror or error})") from error
        item = wish.item
        move = await self._moves.begin(
            item,
            target=bytes(place.target),
            is_trashed=wish.after.folder is None,
            note=None if place.note is None else bytes(place.note),
            now=self._clock.now(),
        )
        if move is None:
            return
        trouble = await _in_thread(lambda: _go(move, place))
        state = await self._note_end(move)
        self._log.info("put away", path=item.path, target=move.target, state=state, trouble=trouble and str(trouble))
        if state is Whereabouts.BACK and trouble is not None:
            raise _why_not(trouble)

    async def _verify(self, wish: Wish) -> None:
        """The file is what was sent, and the library has it: now, not some time ago."""
        item, folder = wish.item, wish.after.folder
        assert item.sha256 is not None, "what is ready has been hashed"
        if folder is not None:
            if _path(item.path).parent == _path(folder):
                raise _Kept("it is in the folder that it was to be moved to")
            if not await _in_thread(lambda: _path(folder).is_dir()):
                raise _NotYet(f"{_shown(folder)} is not there")
        try:
            await _in_thread(lambda: _check_file(wish))
        except FileNotFoundError:
            if self._clock.now() - item.updated_at < MISSING_S:
                raise _NotYet("it is not there") from None
            raise _Kept("it is no longer there") from None
        if await self._server.check(item.sha256, aside=True) is None:
            await self._ledger.removed(item.sha256, now=self._clock.now())
            raise _Kept("it was kept: the library does not have it any more")
        await self._ledger.seen(item.sha256, now=self._clock.now())

    def _place(self, wish: Wish) -> Place:
        path = _path(wish.item.path)
        if wish.after.folder is None:
            return self._trash.place(path, now=self._clock.now())
        return Place(free_name(_path(wish.after.folder), path.name))

    async def _note_end(self, move: Move) -> Whereabouts:
        state = await _in_thread(lambda: _whereabouts(move))
        await self._moves.end(move, state, now=self._clock.now())
        return state

    async def _bring_back(self, move: Move) -> bytes:
        if not await _in_thread(lambda: is_at(_path(move.target), move.version)):
            raise FileNotFoundError(errno.ENOENT, "it is no longer where it was put, or has changed there")
        source = await _in_thread(lambda: _free_source(_path(move.source)))
        returning = await self._moves.begin_return(move, source=bytes(source), now=self._clock.now())
        assert returning is not None, "nobody else moves files"
        trouble = await _in_thread(lambda: _attempt(lambda: carry(_path(returning.target), source)))
        if await self._note_end(returning) is not Whereabouts.BACK:
            raise trouble or FileNotFoundError(errno.ENOENT, "it is gone")
        self._log.info("brought back", path=returning.source)
        return returning.source


def _check_file(wish: Wish) -> None:
    item = wish.item
    try:
        if not has_one_name(_path(item.path)):
            raise _Kept("it was kept: the file has another name, too (a hard link)")
        digest = digest_of(_path(item.path), item.version)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _Kept(f"it was kept: it cannot be read ({error.strerror})") from error
    if digest != item.sha256:
        raise _Kept("it was kept: it has changed since it was sent")


def _go(move: Move, place: Place) -> OSError | None:
    """Put the file there, if it still is what was verified. Returns what went wrong."""

    def go() -> None:
        source = _path(move.source)
        if not is_at(source, move.version) or not has_one_name(source):
            raise FileNotFoundError(errno.ENOENT, "it has changed in the last moment")
        if place.note is not None:
            write_note(place.note, place.words)
        carry(source, place.target)

    return _attempt(go)


def _attempt(act: Callable[[], None]) -> OSError | None:
    try:
        act()
    except OSError as error:
        return error
    return None


def _whereabouts(move: Move) -> Whereabouts:
    """Where the disk says that the file is. With both names it is where it was: the new one is taken away again."""
    source, target = _path(move.source), _path(move.target)
    is_here, is_there = is_at(source, move.version), is_at(target, move.version)
    if is_here and is_there and move.state is Whereabouts.GOING:
        target.unlink()
        is_there = False
    elif is_here and is_there:
        source.unlink()
        is_here = False
    if is_there:
        return Whereabouts.THERE
    if move.note is not None:
        remove_note(_path(move.note), target)
    return Whereabouts.BACK if is_here else Whereabouts.LOST


def _why_not(trouble: OSError) -> Exception:
    if isinstance(trouble, FileExistsError):
        return _NotYet("its new name was taken in the last moment")
    if trouble.errno == errno.EXDEV:
        return _Kept("it was kept: the folder that it was to be moved to is on another disk")
    return _Kept(f"it was kept: it cannot be moved ({trouble.strerror or trouble})")


def _free_source(source: Path) -> Path:
    """Where it came from, with a number if another file is there by now."""
    source.parent.mkdir(parents=True, exist_ok=True)
    return free_name(source.parent, source.name)


def _path(path: bytes) -> Path:
    return Path(os.fsdecode(path))


def _shown(path: bytes) -> str:
    return printable(os.fsdecode(path))


async def _in_thread(work: Callable[[], T]) -> T:
    return await asyncio.to_thread(work)
