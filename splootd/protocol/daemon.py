"""Messages that control the daemon: pause, resume, login, logout and shutdown."""

from dataclasses import dataclass
from typing import ClassVar

from splootd.protocol.request import Request


@dataclass(frozen=True, slots=True)
class Pause(Request):
    """Pause uploads. The pause survives a restart."""

    method: ClassVar[str] = "POST"
    path: ClassVar[str] = "/v1/pause"


@dataclass(frozen=True, slots=True)
class Resume(Request):
    """Resume uploads."""

    method: ClassVar[str] = "POST"
    path: ClassVar[str] = "/v1/resume"


@dataclass(frozen=True, slots=True)
class Login(Request):
    """Save a token, or a command that prints one."""

    method: ClassVar[str] = "POST"
    path: ClassVar[str] = "/v1/login"
    token: str = ""
    token_command: str = ""

    def __repr__(self) -> str:
        return "Login(hidden)"


@dataclass(frozen=True, slots=True)
class Logout(Request):
    """Delete the saved token or token command."""

    method: ClassVar[str] = "POST"
    path: ClassVar[str] = "/v1/logout"


@dataclass(frozen=True, slots=True)
class Shutdown(Request):
    """Drain the uploads in flight, then stop the daemon."""

    method: ClassVar[str] = "POST"
    path: ClassVar[str] = "/v1/shutdown"


@dataclass(frozen=True, slots=True)
class MessageReply:
    """Reply that consists of a message for the user. The change takes effect after a restart if `restart` is true."""

    message: str
    restart: bool = False
