"""How the daemon goes about it."""

from dataclasses import dataclass
from typing import ClassVar

from splootd.protocol.request import Request


@dataclass(frozen=True, slots=True)
class Pause(Request):
    method: ClassVar[str] = "POST"
    path: ClassVar[str] = "/v1/pause"


@dataclass(frozen=True, slots=True)
class Resume(Request):
    method: ClassVar[str] = "POST"
    path: ClassVar[str] = "/v1/resume"


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
class Done:
    message: str
