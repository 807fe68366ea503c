"""`sploot status`: show the daemon, the server, the folders and the queue.

This is the command that runs most often, so it imports least: it reads the daemon's JSON without `splootd.protocol`.
"""

from __future__ import annotations

from types import SimpleNamespace

from sploot import exit_codes, render
from sploot.daemon_connect import open_client
from sploot.terminal import get_columns, get_style, print_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sploot.typer_options import Annotated, JsonOption, Option
    from splootd.protocol import Status


def status(
    *,
    exit_code: Annotated[
        bool, Option("--exit-code", help="Exit with 0 if everything is ready, 1 if work is left, 4 if you need to act.")
    ] = False,
    follow: Annotated[bool, Option("--follow", "-f", help="Show every change until interrupted.")] = False,
    as_json: JsonOption = False,
) -> int:
    """Show the daemon, server, folders and queue at a glance."""
    if follow:
        from sploot.commands.status_follow import follow_status  # imports the protocol

        return follow_status(as_json=as_json)
    data = open_client().request_json("GET", "/v1/status")
    if as_json:
        print_json(data)
    else:
        print("\n".join(render.render_status(status_from_json(data), get_style(), get_columns())))
    return status_exit_code(status_from_json(data)) if exit_code else exit_codes.DONE


def status_exit_code(status: Status) -> int:
    """Return the exit code of `status --exit-code`: done, work left, or an action by the user is required."""
    if status.actions_required:
        return exit_codes.NEEDS_USER
    return (
        exit_codes.WORK_LEFT if any(status.items.get(state) for state in render.UNFINISHED_STATES) else exit_codes.DONE
    )


def status_from_json(data: dict[str, Any]) -> Status:
    """Return an object with the attributes of a Status, without importing the class."""
    parts = {name: SimpleNamespace(**data[name]) for name in ("daemon", "server", "rates")}
    rows = {name: [SimpleNamespace(**each) for each in data[name]] for name in ("folders", "actions_required")}
    status: Status = SimpleNamespace(**{**data, **parts, **rows})  # type: ignore[assignment]  # same attributes
    return status


COMMANDS = {"status": status}
