"""A claimed item on its way to the library, and the results that can end its attempt."""

from collections.abc import Sequence
from dataclasses import dataclass

from splootd.core.item import Leased, Version
from splootd.errors import ItemError
from splootd.file_reader import Content
from splootd.store.completion import Accepted
from splootd.upload.admission import Permit


@dataclass(frozen=True, slots=True, eq=False)
class UploadJob:
    """A content to upload for a claimed item, while `permit` is valid."""

    leased: Leased
    content: Content
    permit: Permit

    @property
    def tags(self) -> Sequence[str]:
        return self.leased.item.tags

    @property
    def priority(self) -> int:
        """The rank of the job: the lowest goes first."""
        return self.leased.item.priority


@dataclass(frozen=True, slots=True)
class Removed:
    """The content was uploaded before, and then removed from the library."""

    leased: Leased
    sha256: bytes


@dataclass(frozen=True, slots=True)
class Changed:
    """The file has changed since it was claimed. Its new version is uploaded once it has settled."""

    leased: Leased
    version: Version
    error_message: str


@dataclass(frozen=True, slots=True)
class Released:
    """The attempt was interrupted and does not count. The item may be claimed again at `next_at`, None for now."""

    leased: Leased
    error_message: str
    next_at: float | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """The attempt failed. `sha256` is the SHA-256 of the file, if it was known by then."""

    leased: Leased
    error: ItemError
    sha256: bytes | None = None


@dataclass(frozen=True, slots=True)
class Crashed:
    """The attempt ended with an unexpected exception. It counts, so that a bug cannot repeat for ever."""

    leased: Leased
    error: Exception


AttemptResult = Accepted | Removed | Changed | Released | Failed | Crashed
