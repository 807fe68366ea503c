"""Messages of `sploot status`."""

from dataclasses import dataclass
from typing import ClassVar

from splootd.protocol.folders import FolderRow
from splootd.protocol.request import Request


@dataclass(frozen=True, slots=True)
class GetStatus(Request):
    """Return the status of daemon, server, queue and folders."""

    method: ClassVar[str] = "GET"
    path: ClassVar[str] = "/v1/status"


@dataclass(frozen=True, slots=True)
class DaemonStatus:
    """State of the daemon process."""

    version: str
    pid: int
    uptime_s: float
    state: str  # running, paused, draining
    rss_bytes: int


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """State of the server and of the connection to it."""

    url: str
    is_local: bool
    state: str  # one of those in docs/glossary.md, "States of the server"
    breaker: str  # closed, open, half_open
    push: str  # websocket, sse, polling
    retry_at: str | None
    detail: str | None = None  # what is wrong, or what the local server does in the background
    proxy: str | None = None  # the proxy in use, and the variable that names it


@dataclass(frozen=True, slots=True)
class Rates:
    """Throughput over the last seconds, and the estimated time left."""

    items_per_s: float
    bytes_per_s: float
    eta_s: float | None


@dataclass(frozen=True, slots=True)
class ActionRequired:
    """A problem that only the user can fix, and the command for it."""

    what: str
    count: int
    command: str


@dataclass(frozen=True, slots=True)
class Status:
    """Reply to GetStatus, and data of the `status` event."""

    daemon: DaemonStatus
    server: ServerStatus
    items: dict[str, int]  # `total`, and one count per state
    duplicates: int
    delayed: int
    rates: Rates
    folders: tuple[FolderRow, ...]
    actions_required: tuple[ActionRequired, ...]
