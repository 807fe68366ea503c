"""Everything at a glance."""

from dataclasses import dataclass
from typing import ClassVar

from splootd.protocol.folders import FolderRow
from splootd.protocol.request import Request


@dataclass(frozen=True, slots=True)
class GetStatus(Request):
    method: ClassVar[str] = "GET"
    path: ClassVar[str] = "/v1/status"


@dataclass(frozen=True, slots=True)
class DaemonStatus:
    version: str
    pid: int
    uptime_s: float
    state: str  # running, paused, draining
    rss_bytes: int


@dataclass(frozen=True, slots=True)
class ServerStatus:
    url: str
    embedded: bool
    state: str  # ok, unreachable, signed_out, rate_limited
    breaker: str  # closed, open, half_open
    push: str  # websocket, sse, polling
    retry_at: str | None
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class Rates:
    items_per_s: float
    bytes_per_s: float
    eta_s: float | None


@dataclass(frozen=True, slots=True)
class Need:
    """Something that only the user can mend, and the command that helps."""

    what: str
    count: int
    command: str


@dataclass(frozen=True, slots=True)
class Status:
    daemon: DaemonStatus
    server: ServerStatus
    items: dict[str, int]  # total, and one number for each state
    ready_of_which_duplicates: int
    pending_of_which_delayed: int
    rates: Rates
    folders: tuple[FolderRow, ...]
    needs_you: tuple[Need, ...]
