"""Exceptions of the daemon and the command line.

SplootError                     title: what happened to what; hint: what to do
├── ItemError                   one file failed a step; `error_code` selects the retry policy
│   ├── ServerError             caused by the server or the connection to it
│   │   ├── Unreachable         no connection: nothing was sent
│   │   ├── ConnectionLost      broken connection or timeout after bytes were sent: outcome unknown
│   │   ├── InternalServerError a 5xx response
│   │   ├── InvalidResponse     a response that cannot be parsed
│   │   ├── RateLimited         429, or 503 with Retry-After
│   │   ├── LibraryFull         507: a quota is used up, or the server's disk is full
│   │   ├── Unauthenticated     no token, or a rejected one
│   │   │   └── TokenCommandFailed
│   │   └── Rejected            the server permanently rejects the file
│   │       └── TagsRejected    the server rejects the tags of the file
│   ├── ResourceExhausted       this machine ran out of file descriptors, sockets, memory or disk
│   └── FileError               caused by the file
│       ├── FileMissing  FileChanged  FileUnreadable  NotAFile
│       └── FileEmpty  FileTooLarge  NotAnImage  Unsupported
├── ConfigError                 an invalid key or value
├── StoreError                  caused by the database file
│   └── StoreNewer  StoreDamaged  StoreFull  StoreFailed
├── AlreadyRunning              another daemon uses this state folder
└── RequestError                an invalid request of a command
"""

import os

from splootd.core.error_code import ErrorCode

TYPE_CHECKING = False
if TYPE_CHECKING:  # every command imports this module, and importing `typing` takes longer than all of it
    from typing import ClassVar


class SplootError(Exception):
    """An error that is reported to the user. `title` states what happened, `hint` what to do."""

    def __init__(self, title: str, hint: str | None = None) -> None:
        super().__init__(title)
        self.title = title
        self.hint = hint


class ItemError(SplootError):
    """One file failed a step of the pipeline."""

    error_code: "ClassVar[ErrorCode]"


class ServerError(ItemError):
    """An error of the server or the connection to it. `status` is the HTTP status, if there was a response.

    `failure_id` is equal for all files of one request, so that the circuit breaker counts the request once.
    """

    def __init__(
        self, title: str, hint: str | None = None, *, status: int | None = None, failure_id: bytes | None = None
    ) -> None:
        super().__init__(title, hint)
        self.status = status
        self.failure_id = failure_id or os.urandom(8)


class Unreachable(ServerError):
    """No connection could be made: nothing was sent."""

    error_code = ErrorCode.UNREACHABLE


class ConnectionLost(ServerError):
    """The connection broke or timed out after bytes were sent: the outcome is unknown and must be checked by hash."""

    error_code = ErrorCode.CONNECTION_LOST


class InternalServerError(ServerError):
    """The server sent a 5xx response."""

    error_code = ErrorCode.SERVER_ERROR


class InvalidResponse(ServerError):
    """The response cannot be parsed."""

    error_code = ErrorCode.INVALID_RESPONSE


class UploadForbidden(InvalidResponse):
    """The server responds 403 to an upload, with an error message: the token may not allow it.

    A firewall sends a page instead.
    """


class RateLimited(ServerError):
    """The server limits the request rate: 429, or 503 with Retry-After."""

    error_code = ErrorCode.RATE_LIMITED

    def __init__(self, title: str, *, retry_after_s: float, status: int | None = None) -> None:
        super().__init__(title, status=status)
        self.retry_after_s = retry_after_s


class LibraryFull(ServerError):
    """The server has no room for more files: a quota is used up, or its disk is full. The title has its message."""

    error_code = ErrorCode.LIBRARY_FULL


class Unauthenticated(ServerError):
    """The user is signed out: no token, or one that the server rejected."""

    error_code = ErrorCode.UNAUTHENTICATED


class TokenCommandFailed(Unauthenticated):
    """The token command printed no token. It runs again after `retry_after_s`."""

    def __init__(self, title: str, *, retry_after_s: float) -> None:
        super().__init__(title, "run the command in a terminal to see why")
        self.retry_after_s = retry_after_s


class Rejected(ServerError):
    """The server permanently rejects the file. The title includes the server's message."""

    error_code = ErrorCode.REJECTED


class TagsRejected(Rejected):
    """The server rejects the tags of the file. The title includes the server's message."""

    error_code = ErrorCode.TAGS_REJECTED


class ResourceExhausted(ItemError):
    """This machine ran out of file descriptors, sockets, memory or disk."""

    error_code = ErrorCode.RESOURCE_EXHAUSTED


class FileError(ItemError):
    """An error caused by the file."""


class FileMissing(FileError):
    """The file no longer exists."""

    error_code = ErrorCode.FILE_MISSING


class FileChanged(FileError):
    """The file changed while it was read or uploaded."""

    error_code = ErrorCode.INTERRUPTED


class FileUnreadable(FileError):
    """The file cannot be read: permission denied or I/O error."""

    error_code = ErrorCode.UNREADABLE


class NotAFile(FileError):
    """The path is a FIFO, socket or device."""

    error_code = ErrorCode.NOT_A_FILE


class FileEmpty(FileError):
    """The file is empty."""

    error_code = ErrorCode.EMPTY


class FileTooLarge(FileError):
    """The file is larger than the server's limit."""

    error_code = ErrorCode.TOO_LARGE


class NotAnImage(FileError):
    """The file is not an image or video, by its first bytes."""

    error_code = ErrorCode.NOT_AN_IMAGE


class Unsupported(FileError):
    """The file is an image or video of a type that the server does not accept."""

    error_code = ErrorCode.UNSUPPORTED


class ConfigError(SplootError):
    """The configuration is invalid. The title names the key and its value, the hint the allowed values."""


class StoreError(SplootError):
    """An error of the database file."""


class StoreNewer(StoreError):
    """The database was written by a newer version. It is left unchanged."""


class StoreDamaged(StoreError):
    """The database is corrupt. It is left unchanged."""


class StoreFull(StoreError):
    """The disk is full. Nothing was written."""


class StoreFailed(StoreError):
    """A write failed with an I/O error. Only reopening the database shows whether it was committed."""


class AlreadyRunning(SplootError):
    """Another daemon uses this state folder."""


class RequestError(SplootError):
    """An invalid request of a command. `code` is stable for scripts; `status` is the HTTP status."""

    def __init__(self, code: str, title: str, hint: str | None = None, *, status: int = 400) -> None:
        super().__init__(title, hint)
        self.code = code
        self.status = status
