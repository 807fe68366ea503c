"""`sploot status`. The command that is run most imports least: it reads the daemon's JSON without the protocol."""

from __future__ import annotations

from types import SimpleNamespace

from sploot import exits, render
from sploot.reach import client
from sploot.terminal import print_json, style

TYPE_CHECKING = False
if TYPE_CHECKING:  # see above
    from typing import Any

    from splootd.protocol import Status


def status(*, exit_code: bool = False, follow: bool = False, as_json: bool = False) -> int:
    if follow:
        from sploot.following import follow as it  # noqa: PLC0415 - see above

        return it(as_json=as_json)
    said = client().answer("GET", "/v1/status")
    if as_json:
        print_json(said)
    else:
        print("\n".join(render.status(seen(said), style())))
    return code_of(seen(said)) if exit_code else exits.DONE


def code_of(now: Status) -> int:
    """Everything ready, work left, or the user is needed."""
    if now.needs_you:
        return exits.NEEDS_USER
    return exits.WORK_LEFT if any(now.items.get(state) for state in render.UNENDED) else exits.DONE


def seen(said: dict[str, Any]) -> Status:
    """What the daemon said, with the names that a Status has."""
    parts = {name: SimpleNamespace(**said[name]) for name in ("daemon", "server", "rates")}
    rows = {name: [SimpleNamespace(**each) for each in said[name]] for name in ("folders", "needs_you")}
    now: Status = SimpleNamespace(**{**said, **parts, **rows})  # type: ignore[assignment]  # it has the same names
    return now
