"""Undo a post-upload action: move the file back to its original folder."""

import asyncio
import errno
import os
from pathlib import Path

from splootd.clock import Clock
from splootd.errors import RequestError
from splootd.logs import get_logger
from splootd.post_upload.move_recovery import record_state
from splootd.post_upload.safe_move import is_version_at, move_file, to_path
from splootd.post_upload.trash import find_free_path
from splootd.store.move_journal import Move, MoveJournal, MoveState
from splootd.text import display_name, printable


class MoveUndo:
    """Restores moved files. The caller serialises it with other moves of the same journal."""

    def __init__(self, moves: MoveJournal, clock: Clock) -> None:
        self._moves = moves
        self._clock = clock
        self._log = get_logger("post_upload")

    async def undo(self, item_id: int | None) -> tuple[int, bytes]:
        """Restore the file of an item, or the file moved last; return the item's id and the restored path.

        Raise RequestError if no file was moved or it cannot be restored.
        """
        move = await (self._moves.get_last() if item_id is None else self._moves.get_by_item(item_id))
        if move is None:
            which = "no file has" if item_id is None else f"the file of item {item_id} has not"
            raise RequestError("not_found", f"nothing to undo: {which} been moved away", status=404)
        try:
            return move.item_id, await self._restore(move)
        except OSError as error:
            title = f"cannot restore {display_name(move.source)}: {error.strerror or error}"
            raise RequestError(
                "undo_failed", title, f"it was moved to {printable(os.fsdecode(move.target))}"
            ) from error

    async def _restore(self, move: Move) -> bytes:
        if not await asyncio.to_thread(is_version_at, to_path(move.target), move.version):
            raise FileNotFoundError(errno.ENOENT, "the moved file was deleted or changed")
        source = await asyncio.to_thread(_choose_restore_path, to_path(move.source))
        return_move = await self._moves.begin_restore(move, source=bytes(source), now=self._clock.now())
        assert return_move is not None, "moves are serialised"
        move_error = await asyncio.to_thread(_try_move, to_path(return_move.target), source)
        if await record_state(self._moves, return_move, now=self._clock.now()) is not MoveState.RESTORED:
            raise move_error or FileNotFoundError(errno.ENOENT, "the file is missing")
        self._log.info("file restored", path=return_move.source)
        return return_move.source


def _choose_restore_path(source: Path) -> Path:
    """Return the original path, with a number if another file has taken it; create its folder."""
    source.parent.mkdir(parents=True, exist_ok=True)
    return find_free_path(source.parent, source.name)


def _try_move(source: Path, target: Path) -> OSError | None:
    try:
        move_file(source, target)
    except OSError as error:
        return error
    return None
