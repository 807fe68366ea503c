"""The remedy for each error: what to do about the file or the server, and the command that then works."""

import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from splootd.core.error_code import ErrorCode
from splootd.core.item import Item, State


@dataclass(frozen=True, slots=True)
class Remedy:
    """What to do first, and the command to run then. In `command`, ID and PATH stand for those of the item."""

    advice: str
    command: str = "sploot retry ID"
    can_retry: bool = False  # the same file may succeed now

    def describe(self, item: Item) -> str:
        """Return the remedy for one item as a sentence that ends with the command."""
        path = shlex.quote(os.fsdecode(item.path))
        return f"{self.advice}: {self.command.replace('ID', str(item.id)).replace('PATH', path)}"


_WAIT = "Uploads continue by themselves. To find the cause"

REMEDIES: Mapping[ErrorCode, Remedy] = {
    ErrorCode.UNREACHABLE: Remedy(_WAIT, "sploot doctor"),
    ErrorCode.CONNECTION_LOST: Remedy("To retry", can_retry=True),
    ErrorCode.SERVER_ERROR: Remedy(
        "The server fails on this file only. If you removed it from the library, Sploot accepts it again after its"
        " purge (30 days). To retry",
        can_retry=True,
    ),
    ErrorCode.SERVER_UNAVAILABLE: Remedy(_WAIT, "sploot doctor"),
    ErrorCode.INVALID_RESPONSE: Remedy("To retry", can_retry=True),
    ErrorCode.RATE_LIMITED: Remedy("Uploads continue by themselves. To see when", "sploot status"),
    ErrorCode.LIBRARY_FULL: Remedy(
        "The library has no room for more files: delete some there, or ask its operator for more. Uploads then continue"
        " by themselves. To try at once",
        "sploot resume",
    ),
    ErrorCode.UNAUTHENTICATED: Remedy("To sign in", "sploot login"),
    ErrorCode.RESOURCE_EXHAUSTED: Remedy(_WAIT, "sploot doctor"),
    ErrorCode.INTERRUPTED: Remedy("To retry", can_retry=True),
    ErrorCode.REJECTED: Remedy("Change the file as the server's message says, then run"),
    ErrorCode.TAGS_REJECTED: Remedy("To replace its tags", "sploot add --tag TAG PATH"),
    ErrorCode.TOO_LARGE: Remedy("Make the file smaller, then run"),
    ErrorCode.EMPTY: Remedy("Replace the empty file, then run"),
    ErrorCode.NOT_AN_IMAGE: Remedy("Replace it with an image or a video, then run"),
    ErrorCode.UNREADABLE: Remedy("Make the file readable (permissions, disk), then run"),
    ErrorCode.NOT_A_FILE: Remedy("Replace it with a regular file, then run"),
    ErrorCode.EMBEDDING_FAILED: Remedy(
        "The library has the file, but cannot find it. To delete it there and upload it again (if it fails again, save"
        " the picture in another format first)",
        can_retry=True,
    ),
    ErrorCode.UNSUPPORTED: Remedy("Convert it to a format that the server accepts, or install its decoder, then run"),
    ErrorCode.REMOVED: Remedy("To upload it again", "sploot add --force PATH", can_retry=True),
    ErrorCode.CANCELLED: Remedy("To queue it again", can_retry=True),
    ErrorCode.FILE_MISSING: Remedy("Put the file back, then run", "sploot add PATH"),
}
"""A test runs the command of each remedy: an error code without a remedy that works fails it."""


_ENDED = (State.FAILED, State.SKIPPED, State.MISSING)


def describe_remedy(item: Item) -> str | None:
    """Return the remedy for an item that ended with an error, or that waits for the user or the server."""
    if item.error_code is None:
        return None
    remedy = REMEDIES[ErrorCode(item.error_code)]
    waits = item.state is State.PENDING and "ID" not in remedy.command
    return remedy.describe(item) if item.state in _ENDED or waits else None


def can_retry(item: Item, *, read_file: bool = False) -> bool:
    """Return True if a retry may help: the item ended with an error that is not of the file.

    With `read_file`, it also may if the file has changed since its error.
    """
    if item.error_code is None or item.state not in _ENDED:
        return False
    return REMEDIES[ErrorCode(item.error_code)].can_retry or (read_file and _is_file_mended(item))


def _is_file_mended(item: Item) -> bool:
    try:
        status = os.stat(item.path)  # noqa: PTH116 - a path of bytes
    except OSError:
        return False
    is_changed = (status.st_size, status.st_mtime_ns) != (item.version.size, item.version.mtime_ns)
    is_back = item.error_code in (ErrorCode.FILE_MISSING, ErrorCode.UNREADABLE) and os.access(item.path, os.R_OK)
    return is_changed or is_back
