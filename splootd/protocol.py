"""What the daemon and the command line must agree on: requests and replies. Standard library only.

A request is a frozen dataclass that knows its method and path; `wire.py` says how it travels. A path of a file is text
as `os.fsdecode` gives it, so that a name that is not UTF-8 survives JSON as escaped surrogates.
"""

from dataclasses import dataclass
from typing import ClassVar, get_args

API = "1.0"
ADD_PATHS_MAX = 1_000  # paths in one request; a longer list goes as several requests of one add
BODY_BYTES_MAX = 16_000_000
PAGE_MAX = 1_000
TEXT_CHARS_MAX = 200  # of what is looked for in names


class Request:
    method: ClassVar[str]
    path: ClassVar[str]


@dataclass(frozen=True, slots=True)
class GetStatus(Request):
    method: ClassVar[str] = "GET"
    path: ClassVar[str] = "/v1/status"


@dataclass(frozen=True, slots=True)
class Add(Request):
    """Queue files, import folders. `add` continues an earlier call's list; `watch` keeps looking at the folders.

    `after` is what becomes of the files once the library has them: keep, trash, or move: and an absolute folder.
    """

    method: ClassVar[str] = "POST"
    path: ClassVar[str] = "/v1/add"
    paths: tuple[str, ...]
    watch: bool = True
    priority: str = "normal"
    tags: tuple[str, ...] = ()
    force: bool = False
    dry_run: bool = False
    add: int | None = None
    after: str = "keep"


@dataclass(frozen=True, slots=True)
class GetProgress(Request):
    """How far one add has come; with `follow` as server-sent events until it has ended."""

    method: ClassVar[str] = "GET"
    path: ClassVar[str] = "/v1/progress"
    add: int
    follow: bool = False


@dataclass(frozen=True, slots=True)
class ListItems(Request):
    """Items, newest first: those older than the id `before`, or the next ones newer than the id `after`.

    `text` is looked for in the names of files, so far in one request and no further: the reply says where to go on.
    With `lines` the reply is no `Items` but rows, `limit` of them however many that is, each on a line of its own.
    """

    method: ClassVar[str] = "GET"
    path: ClassVar[str] = "/v1/items"
    state: str | None = None
    folder: str | None = None
    reason: str | None = None
    before: int | None = None
    limit: int = 100
    after: int | None = None
    text: str | None = None
    lines: bool = False


@dataclass(frozen=True, slots=True)
class Why(Request):
    """The story of one file, by id or path."""

    method: ClassVar[str] = "GET"
    path: ClassVar[str] = "/v1/why"
    target: str


@dataclass(frozen=True, slots=True)
class Retry(Request):
    method: ClassVar[str] = "POST"
    path: ClassVar[str] = "/v1/retry"
    ids: tuple[int, ...] = ()
    reason: str | None = None
    all: bool = False


@dataclass(frozen=True, slots=True)
class Bump(Request):
    """To the front; each target is an id or a path."""

    method: ClassVar[str] = "POST"
    path: ClassVar[str] = "/v1/bump"
    targets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Forget(Request):
    """Out of the queue, never from disk or server; each target is an id or a path."""

    method: ClassVar[str] = "POST"
    path: ClassVar[str] = "/v1/forget"
    targets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Pause(Request):
    method: ClassVar[str] = "POST"
    path: ClassVar[str] = "/v1/pause"


@dataclass(frozen=True, slots=True)
class Resume(Request):
    method: ClassVar[str] = "POST"
    path: ClassVar[str] = "/v1/resume"


@dataclass(frozen=True, slots=True)
class Undo(Request):
    """Bring back files that were put away after sending: those of these items, or the last one."""

    method: ClassVar[str] = "POST"
    path: ClassVar[str] = "/v1/undo"
    ids: tuple[int, ...] = ()
    last: bool = False


@dataclass(frozen=True, slots=True)
class Backup(Request):
    """Copy the queue and the ledger to `file`, an absolute path."""

    method: ClassVar[str] = "POST"
    path: ClassVar[str] = "/v1/backup"
    file: str


@dataclass(frozen=True, slots=True)
class GetFolders(Request):
    method: ClassVar[str] = "GET"
    path: ClassVar[str] = "/v1/folders"


@dataclass(frozen=True, slots=True)
class RemoveFolder(Request):
    """Stop watching; what is queued stays queued."""

    method: ClassVar[str] = "POST"
    path: ClassVar[str] = "/v1/folders/remove"
    folder: str


@dataclass(frozen=True, slots=True)
class Search(Request):
    method: ClassVar[str] = "GET"
    path: ClassVar[str] = "/v1/search"
    text: str
    limit: int = 10


@dataclass(frozen=True, slots=True)
class Login(Request):
    """Keep a token, or the command that prints one."""

    method: ClassVar[str] = "POST"
    path: ClassVar[str] = "/v1/login"
    token: str = ""
    token_command: str = ""

    def __repr__(self) -> str:
        return "Login(hidden)"


@dataclass(frozen=True, slots=True)
class Logout(Request):
    method: ClassVar[str] = "POST"
    path: ClassVar[str] = "/v1/logout"


@dataclass(frozen=True, slots=True)
class Shutdown(Request):
    """Drain, then end."""

    method: ClassVar[str] = "POST"
    path: ClassVar[str] = "/v1/shutdown"


@dataclass(frozen=True, slots=True)
class GetEvents(Request):
    """News as server-sent events, from the event after `since` on, or from now on.

    Of all, or what lies below `folder`, or one `item`. `now` adds the status as it changes, `numbers` the report.
    """

    method: ClassVar[str] = "GET"
    path: ClassVar[str] = "/v1/events"
    since: int | None = None
    folder: str | None = None
    item: int | None = None
    now: bool = False
    numbers: bool = False


@dataclass(frozen=True, slots=True)
class GetMetrics(Request):
    """What is measured, as Prometheus reads it: the one answer that is text."""

    method: ClassVar[str] = "GET"
    path: ClassVar[str] = "/v1/metrics"


@dataclass(frozen=True, slots=True)
class GetReport(Request):
    """What is measured, for people and scripts."""

    method: ClassVar[str] = "GET"
    path: ClassVar[str] = "/v1/report"


@dataclass(frozen=True, slots=True)
class WhySlow(Request):
    """What holds everything up now."""

    method: ClassVar[str] = "GET"
    path: ClassVar[str] = "/v1/slow"


@dataclass(frozen=True, slots=True)
class Examine(Request):
    """Look whether all is well, inside the daemon."""

    method: ClassVar[str] = "GET"
    path: ClassVar[str] = "/v1/doctor"


@dataclass(frozen=True, slots=True)
class SelfTest(Request):
    """Send a tiny picture to the library, ask for it, and delete it there for good."""

    method: ClassVar[str] = "POST"
    path: ClassVar[str] = "/v1/self-test"


@dataclass(frozen=True, slots=True)
class OpenPage(Request):
    """Where the page, or an asset on it, is for a browser, once and for a minute. `reset` shuts out all others."""

    method: ClassVar[str] = "POST"
    path: ClassVar[str] = "/v1/ui"
    reset: bool = False
    asset: str | None = None


AnyRequest = (
    GetStatus
    | Add
    | GetProgress
    | ListItems
    | Why
    | Retry
    | Bump
    | Forget
    | Pause
    | Resume
    | Undo
    | Backup
    | GetFolders
    | RemoveFolder
    | Search
    | Login
    | Logout
    | Shutdown
    | GetEvents
    | GetMetrics
    | GetReport
    | WhySlow
    | Examine
    | SelfTest
    | OpenPage
)
REQUESTS: tuple[type[Request], ...] = get_args(AnyRequest)


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
class FolderRow:
    path: str
    state: str  # watching, polling, missing, unreadable, scanning
    detail: str | None
    items: int
    last_new_at: str | None


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


@dataclass(frozen=True, slots=True)
class PathOutcome:
    """What became of one path that was named: `queued`, `known`, `folder`, ... or an error with its sentence."""

    path: str
    outcome: str
    detail: str | None = None
    item: int | None = None


@dataclass(frozen=True, slots=True)
class Added:
    """The answer to Add. `counts` is by outcome; `walking` says that folders are still being looked through."""

    add: int | None
    counts: dict[str, int]
    paths: tuple[PathOutcome, ...]
    walking: bool


@dataclass(frozen=True, slots=True)
class Progress:
    """How far one add has come. `states` sums to `total`; bytes count what need not be sent any more."""

    add: int
    walking: bool
    total: int
    states: dict[str, int]
    duplicates: int
    bytes_total: int
    bytes_done: int
    ended: bool


@dataclass(frozen=True, slots=True)
class ItemRow:
    id: int
    path: str
    state: str
    priority: str
    shard: int
    size: int
    sha256: str | None
    asset_id: str | None
    attempts: int
    added_at: str
    updated_at: str
    next_at: str | None
    reason: str | None
    duplicate: bool
    folder: str | None
    tags: tuple[str, ...]
    fault: str | None = None  # the code that `--reason` takes


@dataclass(frozen=True, slots=True)
class Items:
    """One page, newest first; `before` asks for the next one, None when there is none. So does `after`, upwards."""

    items: tuple[ItemRow, ...]
    before: int | None
    after: int | None = None


@dataclass(frozen=True, slots=True)
class AttemptRow:
    at: str
    fault: str
    verdict: str
    reason: str


@dataclass(frozen=True, slots=True)
class Story:
    """One file: where it stands, what was tried, what happens next, in a sentence."""

    item: ItemRow
    attempts: tuple[AttemptRow, ...]
    next: str
    versions: int
    removed_at: str | None = None  # when it was noticed that the library does not have it any more


@dataclass(frozen=True, slots=True)
class Changed:
    """Which items a command changed, and which of its targets there are none of."""

    ids: tuple[int, ...]
    not_found: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Undone:
    """One outcome for each file that was to come back: `back` with the path where it is now, or why not."""

    paths: tuple[PathOutcome, ...]


@dataclass(frozen=True, slots=True)
class Folders:
    folders: tuple[FolderRow, ...]


@dataclass(frozen=True, slots=True)
class Hit:
    """A match; a larger `score` is better. `path` is None without a file here, `url` without a way for a browser."""

    asset_id: str
    score: float | None
    path: str | None
    url: str | None
    text: str | None


@dataclass(frozen=True, slots=True)
class Hits:
    hits: tuple[Hit, ...]
    note: str | None = None


@dataclass(frozen=True, slots=True)
class CallRow:
    """All calls of one kind to the server since the start. Quantiles are at most a tenth too large."""

    call: str
    count: int
    errors: int
    outcomes: dict[str, int]  # ok, or a fault
    p50_s: float
    p95_s: float
    p99_s: float
    total_s: float


@dataclass(frozen=True, slots=True)
class UploadRow:
    """One upload that has ended. `sent_bytes` is less than `size` when it did not get through."""

    path: str
    started_at: str
    size: int
    sent_bytes: int
    pieces: int
    retries: int
    took_s: float
    bytes_per_s: float


@dataclass(frozen=True, slots=True)
class MemoryRow:
    """Resident memory: now, and over the last five minutes."""

    now_bytes: int
    peak_bytes: int
    average_bytes: int


@dataclass(frozen=True, slots=True)
class Report:
    """What is measured. `uploads` are the last ones, newest first; `errors` count by fault."""

    uploads: tuple[UploadRow, ...]
    calls: tuple[CallRow, ...]
    memory: MemoryRow
    errors: dict[str, int]
    urgent_wait: dict[str, float]  # count, p50_s, p95_s, p99_s
    embedding: dict[str, float]  # the same


@dataclass(frozen=True, slots=True)
class Slow:
    """What holds everything up now, what helps, and the numbers that led there."""

    cause: str
    because: str
    helps: str
    numbers: dict[str, float]


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found: `state` is ok, note or bad; `command` mends it."""

    check: str
    state: str
    says: str
    command: str | None = None


@dataclass(frozen=True, slots=True)
class Findings:
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Done:
    message: str


@dataclass(frozen=True, slots=True)
class PageAddress:
    url: str


@dataclass(frozen=True, slots=True)
class Problem:
    """RFC 9457 problem details; `code` is stable, `title` and `hint` are for people."""

    code: str
    title: str
    status: int
    hint: str | None = None
