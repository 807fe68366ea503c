"""Error reply of the control API."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """RFC 9457 problem details. `code` is stable for scripts; `title` and `hint` are for people."""

    code: str
    title: str
    status: int
    hint: str | None = None
