"""How a request is refused."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """RFC 9457 problem details; `code` is stable, `title` and `hint` are for people."""

    code: str
    title: str
    status: int
    hint: str | None = None
