"""Messages of `sploot doctor`: checks and their findings."""

from dataclasses import dataclass
from typing import ClassVar

from splootd.protocol.request import Request


@dataclass(frozen=True, slots=True)
class RunDoctor(Request):
    """Run the checks inside the daemon.

    `thorough` also runs the daily integrity check of the database now, which takes about 5 s per million items.
    """

    method: ClassVar[str] = "GET"
    path: ClassVar[str] = "/v1/doctor"
    thorough: bool = False


@dataclass(frozen=True, slots=True)
class SelfTest(Request):
    """Upload a tiny image to the library, look it up, and delete it permanently."""

    method: ClassVar[str] = "POST"
    path: ClassVar[str] = "/v1/self-test"


@dataclass(frozen=True, slots=True)
class Finding:
    """Result of one check. `state` is `ok`, `warning` or `error`; `command` fixes it."""

    check: str
    state: str
    message: str
    command: str | None = None


@dataclass(frozen=True, slots=True)
class Findings:
    """Reply to RunDoctor and SelfTest."""

    findings: tuple[Finding, ...]
