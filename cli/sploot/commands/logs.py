"""`sploot logs`: print the daemon's log, one readable line per JSON line. Works without a daemon."""

from __future__ import annotations

import json
import os
import select
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from sploot import exit_codes
from sploot.formatting import escape_unprintable, format_time
from sploot.terminal import get_style
from splootd.config import LOG_LEVELS, Paths
from splootd.errors import RequestError, SplootError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sploot.typer_options import Annotated, Option, complete_level

TAIL_LINES = 200  # printed before the new ones
POLL_INTERVAL_S = 0.5
LINE_CHARS_MAX = 1_000_000
_HEADER_KEYS = ("timestamp", "level", "event", "part", "exception")


def logs(
    *,
    follow: Annotated[bool, Option("--follow", "-f", help="Print new lines until interrupted.")] = False,
    level: Annotated[
        str, Option(metavar="debug|info|warning|error|fatal", autocompletion=complete_level, help="Lowest level.")
    ] = "debug",
) -> int:
    """Print the daemon's log."""
    if level not in LOG_LEVELS:
        raise RequestError("bad_level", f"unknown log level {level!r}", f"use one of: {', '.join(LOG_LEVELS)}")
    file = Paths.from_environ(os.environ).log
    for line in tail_lines(file, follow=follow):
        formatted = format_entry(line, LOG_LEVELS.index(level))
        if formatted:
            print(formatted, flush=follow)
    return exit_codes.DONE


def tail_lines(file: Path, *, follow: bool) -> Iterator[str]:
    """Yield the last TAIL_LINES lines of `file`, then with `follow` each new line, across log rotation."""
    stream = _open_log(file)
    yield from deque(stream, TAIL_LINES)
    while follow:
        stream = _wait_and_reopen(file, stream)
        yield from iter(lambda: stream.readline(LINE_CHARS_MAX), "")  # noqa: B023 - exhausted before the next iteration
    stream.close()


def _wait_and_reopen(file: Path, stream: IO[str]) -> IO[str]:
    """Wait one poll interval; return the stream to continue with, a new one if the log was rotated."""
    select.select([], [], [], POLL_INTERVAL_S)
    try:
        is_same = file.stat().st_ino == os.fstat(stream.fileno()).st_ino
    except FileNotFoundError:
        return stream  # renamed, and the new file is not created yet
    # The old file may have grown between the last read and the rotation: read it to its end first.
    if is_same or stream.read(1):
        return stream
    stream.close()
    return _open_log(file)


def _open_log(file: Path) -> IO[str]:
    try:
        return file.open(encoding="utf-8", errors="replace")
    except OSError as error:
        raise SplootError(f"{file}: {error.strerror}", "the daemon creates it; start it with: sploot status") from error


def format_entry(line: str, min_level: int) -> str | None:
    """Return a line of the log in readable form, or None if its level is below `min_level`."""
    try:
        entry: dict[str, Any] = json.loads(line)
        at, level = format_time(entry["timestamp"]), str(entry["level"])
    except (ValueError, KeyError, TypeError):
        return escape_unprintable(line.rstrip("\n")) or None
    if level in LOG_LEVELS[:min_level]:
        return None
    style = get_style()
    paints: dict[str, Callable[[str], str]] = {"debug": style.dim, "info": str, "warning": style.warn}
    fields = " ".join(
        f"{key}={escape_unprintable(str(value))}" for key, value in entry.items() if key not in _HEADER_KEYS
    )
    start = f"{at} {paints.get(level, style.bad)(f'{level:<7}')} {entry.get('part', '-')}"
    formatted = f"{start}: {escape_unprintable(str(entry.get('event', '')))} {style.dim(fields)}".rstrip()
    trace = "".join(f"\n    {escape_unprintable(each)}" for each in str(entry.get("exception", "")).splitlines())
    return formatted + trace


COMMANDS = {"logs": logs}
