"""Every error of the daemon and the command line, as people meet them.

SplootError                     title: what happened to what; hint: what to do about it
├── ItemError                   one file did not get one step further; `fault` says what follows
│   ├── ServerError             the server's side, or the way to it
│   │   ├── Unreachable         no connection: nothing was sent
│   │   ├── BrokenOff           the line broke or the time ran out: nobody knows whether it arrived
│   │   ├── ServerFault         it answered 5xx
│   │   ├── BadAnswer           it answered what this program cannot understand
│   │   ├── RateLimited         it asks for patience
│   │   ├── SignedOut           it does not know who we are
│   │   └── Refused             it will never take this
│   ├── Exhausted               this machine ran out of files, sockets, memory or disk
│   └── FileError               the file's side
│       ├── FileVanished  FileChanged  FileUnreadable  NotAFile
│       └── FileEmpty  FileTooLarge  NotAnImage  Unsupported
├── ConfigError                 a key, what was found, what is allowed
├── StoreError                  the queue's own file
│   ├── StoreNewer  StoreDamaged  StoreFull  StoreFailed
├── AlreadyRunning              another daemon has this state folder
└── RequestError                a command asked for what cannot be done
"""

import os

from splootd.core.fault import Fault

TYPE_CHECKING = False
if TYPE_CHECKING:  # every command imports this page, and `typing` takes longer than all of it
    from typing import ClassVar


class SplootError(Exception):
    """Something a person should hear about. `title` says what happened; `hint`, if any, what to do."""

    def __init__(self, title: str, hint: str | None = None) -> None:
        super().__init__(title)
        self.title = title
        self.hint = hint


class ItemError(SplootError):
    """One file did not get one step further."""

    fault: "ClassVar[Fault]"


class ServerError(ItemError):
    """The server's side, or the way to it. `status` is the HTTP status, where there was one.

    `occasion` is the same for all files that were in one request: it failed once, however many hear of it.
    """

    def __init__(
        self, title: str, hint: str | None = None, *, status: int | None = None, occasion: bytes | None = None
    ) -> None:
        super().__init__(title, hint)
        self.status = status
        self.occasion = occasion or os.urandom(8)


class Unreachable(ServerError):
    """No connection could be made: nothing was sent."""

    fault = Fault.UNREACHABLE


class BrokenOff(ServerError):
    """The connection broke or the time ran out after bytes were sent: nobody knows whether they arrived."""

    fault = Fault.BROKEN_OFF


class ServerFault(ServerError):
    """The server answered 5xx."""

    fault = Fault.SERVER_FAULT


class BadAnswer(ServerError):
    """The server's answer cannot be understood."""

    fault = Fault.BAD_ANSWER


class RateLimited(ServerError):
    """The server asks for patience: 429, or 503 with a time."""

    fault = Fault.RATE_LIMITED

    def __init__(self, title: str, *, retry_after_s: float, status: int | None = None) -> None:
        super().__init__(title, status=status)
        self.retry_after_s = retry_after_s


class SignedOut(ServerError):
    """The server does not know who we are."""

    fault = Fault.SIGNED_OUT


class Refused(ServerError):
    """The server will never take this file; the title carries its own words."""

    fault = Fault.REFUSED


class Exhausted(ItemError):
    """This machine ran out of files, sockets, memory or disk."""

    fault = Fault.EXHAUSTED


class FileError(ItemError):
    """The file's side."""


class FileVanished(FileError):
    """The file is no longer there."""

    fault = Fault.VANISHED


class FileChanged(FileError):
    """The file changed while it was read or sent."""

    fault = Fault.DISTURBED


class FileUnreadable(FileError):
    """The file may not or cannot be read."""

    fault = Fault.UNREADABLE


class NotAFile(FileError):
    """A FIFO, a socket, a device: nothing to send."""

    fault = Fault.NOT_A_FILE


class FileEmpty(FileError):
    """Nothing in it."""

    fault = Fault.EMPTY


class FileTooLarge(FileError):
    """Over the server's limit."""

    fault = Fault.TOO_LARGE


class NotAnImage(FileError):
    """Its first bytes are not those of any image or video."""

    fault = Fault.NOT_AN_IMAGE


class Unsupported(FileError):
    """An image or video of a type the server does not take."""

    fault = Fault.UNSUPPORTED


class ConfigError(SplootError):
    """A configuration that cannot be used: the title names the key, what was found and what is allowed."""


class StoreError(SplootError):
    """The queue's own file."""


class StoreNewer(StoreError):
    """The database was made by a newer program; it is left untouched."""


class StoreDamaged(StoreError):
    """The database cannot be read; it is left as it is."""


class StoreFull(StoreError):
    """No room on the disk; nothing was written."""


class StoreFailed(StoreError):
    """A write ended with an I/O error: whether it is there is known only after reopening."""


class AlreadyRunning(SplootError):
    """Another daemon has this state folder."""


class RequestError(SplootError):
    """A command asked for what cannot be done. `code` is stable for scripts, `status` the HTTP status."""

    def __init__(self, code: str, title: str, hint: str | None = None, *, status: int = 400) -> None:
        super().__init__(title, hint)
        self.code = code
        self.status = status
