"""The journal of files that a post-upload action moves or trashes, and of their restores."""

import enum
import sqlite3
from dataclasses import dataclass
from typing import Any

from splootd.core.error_code import ErrorCode
from splootd.core.item import Item, Version
from splootd.core.post_upload_action import PostUploadAction
from splootd.core.retry_policy import RetryAction
from splootd.event_bus import WakeSignals
from splootd.store.completion import SUPERSEDED_MESSAGE
from splootd.store.database import Database
from splootd.store.queries import SQL
from splootd.store.rows import item_from_row, parse_after_upload, version_from_row


class MoveState(enum.StrEnum):
    """The state of one move."""

    MOVING = "moving"  # recorded; after a crash the disk shows whether the file was moved
    MOVED = "moved"
    RESTORING = "restoring"  # recorded, as above
    RESTORED = "restored"
    LOST = "lost"  # the file is at neither path: another program has moved or deleted it


@dataclass(frozen=True, slots=True)
class PendingAction:
    """A ready item and the action that its file still waits for."""

    item: Item
    action: PostUploadAction


@dataclass(frozen=True, slots=True)
class Move:
    """One moved or trashed file. `info_path` is the file in which the trash records the original path."""

    id: int
    item_id: int
    source: bytes
    target: bytes
    is_trashed: bool
    info_path: bytes | None
    version: Version
    state: MoveState


class MoveJournal:
    """Records each move before and after it happens. Times are seconds since the epoch.

    A rename and a COMMIT cannot be one atomic step. The row is therefore committed first, with the file's version and
    both paths: after a crash in between, a look at both paths decides how the move ended.
    """

    def __init__(self, database: Database, *, server_id: int, wake_signals: WakeSignals) -> None:
        self._database = database
        self._server_id = server_id
        self._wake_signals = wake_signals

    async def pending_actions(self, *, after_id: int, limit: int) -> list[PendingAction]:
        """Return the pending actions of the items after `after_id`, sorted by item id."""
        rows = await self._read("pending_actions", after_id=after_id, limit=limit)
        return [
            PendingAction(item_from_row(row), action)
            for row in rows
            if (action := parse_after_upload(row["after_upload"]))
        ]

    async def cancel_action(self, item_id: int, *, error_message: str, now: float) -> None:
        """Keep the file where it is, and add `error_message` to the history of its item."""

        def op(connection: sqlite3.Connection) -> None:
            connection.execute(SQL["set_after_upload"], {"id": item_id, "after_upload": None})
            attempt = {
                "id": item_id,
                "now": now,
                "error_code": ErrorCode.INTERRUPTED,
                "action": RetryAction.SKIP,
                "error_message": error_message,
            }
            connection.execute(SQL["insert_attempt"], attempt)

        await self._database.write(op)
        self._wake_signals.events.notify()

    async def begin(
        self, item: Item, *, target: bytes, is_trashed: bool, info_path: bytes | None, now: float
    ) -> Move | None:
        """Record that the file is about to move to `target`. Returns None if its action was cancelled meanwhile."""
        values = {
            "id": item.id,
            "source": item.path,
            "target": target,
            "is_trashed": is_trashed,
            "info_path": info_path,
            "now": now,
        }
        return await self._write_returning("begin_move", values)

    async def begin_restore(self, move: Move, *, source: bytes, now: float) -> Move | None:
        """Record that the file is about to return to `source`. Returns None if it is not moved."""
        return await self._write_returning("begin_restore", {"id": move.id, "source": source, "now": now})

    async def finish(self, move: Move, state: MoveState, *, now: float) -> None:
        """Record how a move or a restore ended.

        The path of the item follows its file, except into the trash. A moved or lost file has no pending action left.
        """

        def op(connection: sqlite3.Connection) -> None:
            if not connection.execute(SQL["finish_move"], {"id": move.id, "state": state, "now": now}).fetchall():
                return
            if state in (MoveState.MOVED, MoveState.LOST):
                connection.execute(SQL["set_after_upload"], {"id": move.item_id, "after_upload": None})
            if state is MoveState.RESTORED:
                self._update_item_path(connection, move.item_id, move.source, now)
            elif state is MoveState.MOVED and not move.is_trashed:
                self._update_item_path(connection, move.item_id, move.target, now)

        await self._database.write(op)
        self._wake_signals.events.notify()

    async def in_progress(self) -> list[Move]:
        """Return the moves that a crash has interrupted."""
        return [_move_from_row(row) for row in await self._read("moves_in_progress")]

    async def get_by_item(self, item_id: int) -> Move | None:
        """Return the last move of an item that was not restored."""
        rows = await self._read("move_by_item", id=item_id)
        return _move_from_row(rows[0]) if rows else None

    async def get_last(self) -> Move | None:
        """Return the last move that was not restored."""
        rows = await self._read("last_move")
        return _move_from_row(rows[0]) if rows else None

    def _update_item_path(self, connection: sqlite3.Connection, item_id: int, path: bytes, now: float) -> None:
        values = {"server_id": self._server_id, "path": path, "id": item_id, "folder_id": None, "now": now}
        for row in connection.execute(SQL["latest_at_path"], values).fetchall():
            if row["id"] == item_id:
                return
            params = {"id": row["id"], "superseded_message": SUPERSEDED_MESSAGE, "now": now}
            connection.execute(SQL["supersede"], params)
        connection.execute(SQL["rename"], values)

    async def _read(self, query: str, **values: Any) -> list[sqlite3.Row]:
        params = {"server_id": self._server_id, **values}
        return await self._database.read(lambda connection: connection.execute(SQL[query], params).fetchall())

    async def _write_returning(self, query: str, values: dict[str, Any]) -> Move | None:
        rows = await self._database.write(lambda connection: connection.execute(SQL[query], values).fetchall())
        return _move_from_row(rows[0]) if rows else None


def _move_from_row(row: sqlite3.Row) -> Move:
    return Move(
        id=row["id"],
        item_id=row["item_id"],
        source=row["source"],
        target=row["target"],
        is_trashed=bool(row["is_trashed"]),
        info_path=row["info_path"],
        version=version_from_row(row),
        state=MoveState(row["state"]),
    )
