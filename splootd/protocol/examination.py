"""Whether all is well."""

from dataclasses import dataclass
from typing import ClassVar

from splootd.protocol.request import Request


@dataclass(frozen=True, slots=True)
class Examine(Request):
    """Look whether all is well, inside the daemon.

    The queue's database is read through once a day; `thorough`: it is now, which takes about 5 s a million items.
    """

    method: ClassVar[str] = "GET"
    path: ClassVar[str] = "/v1/doctor"
    thorough: bool = False


@dataclass(frozen=True, slots=True)
class SelfTest(Request):
    """Send a tiny picture to the library, ask for it, and delete it there for good."""

    method: ClassVar[str] = "POST"
    path: ClassVar[str] = "/v1/self-test"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found: `state` is ok, note or bad; `command` mends it."""

    check: str
    state: str
    says: str
    command: str | None = None


@dataclass(frozen=True, slots=True)
class Findings:
    findings: tuple[Finding, ...]
