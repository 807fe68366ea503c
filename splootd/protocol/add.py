"""Messages of `sploot add`: queue files, import folders, and the progress of an import."""

from dataclasses import dataclass, field
from typing import ClassVar

from splootd.protocol.request import Request


@dataclass(frozen=True, slots=True)
class Add(Request):
    """Queue files and import folders.

    `import_id` continues the list of an earlier request; `watch` keeps watching the folders. `after_upload` is the
    post-upload action: `keep`, `trash`, or `move:` and an absolute folder. `server` is the SPLOOT_SERVER of the
    command, which must be the server of the daemon.
    """

    method: ClassVar[str] = "POST"
    path: ClassVar[str] = "/v1/add"
    paths: tuple[str, ...]
    watch: bool = True
    priority: str = "normal"
    tags: tuple[str, ...] = ()
    force: bool = False
    dry_run: bool = False
    import_id: int | None = None
    after_upload: str = "keep"
    server: str | None = None


@dataclass(frozen=True, slots=True)
class PathOutcome:
    """Outcome of one path: `queued`, `known`, `folder`, ... or an error code with its message in `detail`."""

    path: str
    outcome: str
    detail: str | None = None
    item: int | None = None


@dataclass(frozen=True, slots=True)
class AddReply:
    """Reply to Add. `counts` is by outcome; `scanning` is true while folders are still being scanned."""

    import_id: int | None
    counts: dict[str, int]
    paths: tuple[PathOutcome, ...]
    scanning: bool


@dataclass(frozen=True, slots=True)
class GetProgress(Request):
    """Return the progress of an import; with `follow`, stream it as server-sent events until it has ended."""

    method: ClassVar[str] = "GET"
    path: ClassVar[str] = "/v1/progress"
    import_id: int
    follow: bool = False


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of an import. `states` sums to `total`; `bytes_done` counts bytes that need no further upload.

    Of the `duplicates`, `copies` have the content of another file of this import; `removed` files were removed from the
    library; `errors` counts the failed, skipped and missing files by error code. These three are counted when the
    import has ended.
    """

    import_id: int
    scanning: bool
    total: int
    states: dict[str, int]
    duplicates: int
    bytes_total: int
    bytes_done: int
    ended: bool
    due_at: str | None = None  # the earliest due time, when all unfinished items are scheduled for later
    copies: int = 0
    removed: int = 0
    errors: dict[str, int] = field(default_factory=dict)
