"""What is kept: files that were put away, copies of the queue."""

from dataclasses import dataclass
from typing import ClassVar

from splootd.protocol.adding import PathOutcome
from splootd.protocol.request import Request


@dataclass(frozen=True, slots=True)
class Undo(Request):
    """Bring back files that were put away after sending: those of these items, or the last one."""

    method: ClassVar[str] = "POST"
    path: ClassVar[str] = "/v1/undo"
    ids: tuple[int, ...] = ()
    last: bool = False


@dataclass(frozen=True, slots=True)
class Undone:
    """One outcome for each file that was to come back: `back` with the path where it is now, or why not."""

    paths: tuple[PathOutcome, ...]


@dataclass(frozen=True, slots=True)
class Backup(Request):
    """Copy the queue and the ledger to `file`, an absolute path."""

    method: ClassVar[str] = "POST"
    path: ClassVar[str] = "/v1/backup"
    file: str
