"""Queue item: one local file in one version, with its states and priorities."""

import enum
import zlib
from dataclasses import dataclass
from typing import NamedTuple

SHARDS = 16


class State(enum.StrEnum):
    """State of an item, with the same value in code, table, log, metrics, command line and web UI."""

    PENDING = "pending"  # waiting for an upload worker, or for its next attempt
    UPLOADING = "uploading"  # leased by an upload worker of this daemon
    EMBEDDING = "embedding"  # uploaded; not searchable yet
    READY = "ready"  # searchable
    FAILED = "failed"  # in the dead-letter queue until the user retries it
    MISSING = "missing"  # the file disappeared before it was uploaded
    SKIPPED = "skipped"  # not to be uploaded: unsupported type, removed on the server, or forgotten by the user


class Priority(enum.IntEnum):
    """Priority of an item. Smaller values come first, so that an index on the number gives the claim order."""

    URGENT = 0
    NORMAL = 1
    BACKGROUND = 2

    @property
    def label(self) -> str:
        return self.name.lower()

    @classmethod
    def from_label(cls, label: str) -> "Priority":
        """Return the priority with this label. Raises KeyError."""
        return cls[label.upper()]


class Version(NamedTuple):
    """File metadata that distinguishes one version of a file from the next without reading it."""

    size: int
    mtime_ns: int
    device: int
    inode: int

    def is_same_as(self, earlier: "Version") -> bool:
        """Return True when this version equals `earlier` in size, mtime and inode.

        The device number is ignored: the kernel assigns a new one at each boot and at each mount of a removable
        disk, so comparing it would upload every file of an external disk again.
        """
        return (self.size, self.mtime_ns, self.inode) == (earlier.size, earlier.mtime_ns, earlier.inode)


class FoundFile(NamedTuple):
    """A file on its way into the queue, in the version that was found. It can be claimed from `settles_at` on."""

    path: bytes
    version: Version
    settles_at: float | None = None  # None: immediately


class Item(NamedTuple):
    """One row of the queue. Times are seconds since the epoch; `sha256` is the 32-byte digest.

    `attempted` is true from the second claim on: the library may have the content, whatever became of the attempt.

    A NamedTuple, like its version: thousands are created in one go, and a frozen dataclass takes twice as long.
    """

    id: int
    path: bytes
    version: Version
    state: State
    priority: Priority
    shard: int
    added_at: float
    updated_at: float
    next_at: float | None
    attempts: int
    sha256: bytes | None
    asset_id: str | None
    duplicate: bool
    error_code: str | None
    error_message: str | None
    folder_id: int | None
    tags: tuple[str, ...]
    force: bool
    attempted: bool = False


@dataclass(frozen=True, slots=True)
class Leased:
    """An item claimed by one upload worker. The store accepts a result only with the current `lease` (fencing)."""

    item: Item
    lease: str


def shard_for(path: bytes) -> int:
    """Return the shard of a path, 0 to 15, equal on every machine and in every version.

    CRC-32 spreads the numbered names of cameras and browsers more evenly than a random hash. Python's `hash` is not
    usable here: it differs between processes.
    """
    return zlib.crc32(path) % SHARDS
