"""The watched folders."""

from dataclasses import dataclass
from typing import ClassVar

from splootd.protocol.request import Request


@dataclass(frozen=True, slots=True)
class FolderRow:
    path: str
    state: str  # watching, polling, missing, unreadable, scanning
    detail: str | None
    items: int
    last_new_at: str | None


@dataclass(frozen=True, slots=True)
class GetFolders(Request):
    method: ClassVar[str] = "GET"
    path: ClassVar[str] = "/v1/folders"


@dataclass(frozen=True, slots=True)
class Folders:
    folders: tuple[FolderRow, ...]


@dataclass(frozen=True, slots=True)
class RemoveFolder(Request):
    """Stop watching; what is queued stays queued."""

    method: ClassVar[str] = "POST"
    path: ClassVar[str] = "/v1/folders/remove"
    folder: str
