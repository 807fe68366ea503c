"""Messages of `sploot undo` and `sploot backup`."""

from dataclasses import dataclass
from typing import ClassVar

from splootd.protocol.add import PathOutcome
from splootd.protocol.request import Request


@dataclass(frozen=True, slots=True)
class Undo(Request):
    """Restore files that were moved or trashed after their upload: those of these items, or the last one."""

    method: ClassVar[str] = "POST"
    path: ClassVar[str] = "/v1/undo"
    ids: tuple[int, ...] = ()
    last: bool = False


@dataclass(frozen=True, slots=True)
class UndoReply:
    """One outcome per file: `restored` with its current path, or an error code."""

    paths: tuple[PathOutcome, ...]


@dataclass(frozen=True, slots=True)
class Backup(Request):
    """Back up the queue and the ledger to `file`, an absolute path."""

    method: ClassVar[str] = "POST"
    path: ClassVar[str] = "/v1/backup"
    file: str
