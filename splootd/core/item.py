"""What the queue holds: one local file in one version, and the words that describe it."""

import enum
import zlib
from dataclasses import dataclass
from typing import NamedTuple

SHARDS = 16


class State(enum.StrEnum):
    """Where an item stands on its walk. The same word in code, table, log, metric, command and page."""

    PENDING = "pending"  # waiting for its turn, or for its next try
    UPLOADING = "uploading"  # leased by a lane of this daemon
    EMBEDDING = "embedding"  # the library has the bytes; it is not searchable yet
    READY = "ready"  # searchable
    DEAD = "dead"  # a dead letter: given up, with a reason, until the user retries
    GONE = "gone"  # the file vanished before it was sent
    SKIPPED = "skipped"  # not to be sent: a type the server does not take, removed there, or forgotten by the user


class Priority(enum.IntEnum):
    """Smaller is sooner, so that an index on the number is the order of work."""

    URGENT = 0
    NORMAL = 1
    BACKGROUND = 2

    @property
    def word(self) -> str:
        return self.name.lower()

    @classmethod
    def of(cls, word: str) -> "Priority":
        """The priority called `word`; KeyError for any other word."""
        return cls[word.upper()]


class Version(NamedTuple):
    """What tells one version of a file from the next without reading it."""

    size: int
    mtime_ns: int
    device: int
    inode: int

    def is_still(self, earlier: "Version") -> bool:
        """Whether what is at a path now is what was there `earlier`.

        The device is left out: it is numbered anew when the machine starts or the disk is plugged in again.
        """
        return (self.size, self.mtime_ns, self.inode) == (earlier.size, earlier.mtime_ns, earlier.inode)


class Item(NamedTuple):
    """One row of the queue. Times are seconds since the epoch; `sha256` is the 32-byte digest.

    A tuple, as the version in it: thousands are made at once, and to make a frozen dataclass takes twice as long.
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
    fault: str | None
    reason: str | None
    folder_id: int | None
    tags: tuple[str, ...]
    force: bool


@dataclass(frozen=True, slots=True)
class Leased:
    """An item in the hands of one lane. Only its holder can say how the upload ended."""

    item: Item
    lease: str


def shard_of(path: bytes) -> int:
    """The shard of a path, 0 to 15, the same on every machine and in every version.

    CRC-32 spreads the counted names that cameras and browsers give more evenly than a random hash would.
    """
    return zlib.crc32(path) % SHARDS
