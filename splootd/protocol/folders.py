"""Messages about watched folders."""

from dataclasses import dataclass
from typing import ClassVar

from splootd.protocol.request import Request


@dataclass(frozen=True, slots=True)
class FolderRow:
    """One watched folder with its health."""

    path: str
    state: str  # watching, polling, missing, unreadable, scanning
    detail: str | None
    items: int
    last_new_at: str | None


@dataclass(frozen=True, slots=True)
class GetFolders(Request):
    """List the watched folders."""

    method: ClassVar[str] = "GET"
    path: ClassVar[str] = "/v1/folders"


@dataclass(frozen=True, slots=True)
class Folders:
    """Reply to GetFolders."""

    folders: tuple[FolderRow, ...]


@dataclass(frozen=True, slots=True)
class RemoveFolder(Request):
    """Stop watching a folder. Its queued files stay queued."""

    method: ClassVar[str] = "POST"
    path: ClassVar[str] = "/v1/folders/remove"
    folder: str
