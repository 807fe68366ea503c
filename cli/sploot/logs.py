"""`sploot logs`: the daemon's log, one readable line for each of its JSON lines. It needs no daemon."""

import json
import os
import select
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from sploot import exits
from sploot.terminal import style
from sploot.text import moment, safe
from splootd.config import LOG_LEVELS, Paths
from splootd.errors import RequestError, SplootError

SHOWN = 200  # lines of the past
LOOK_S = 0.5  # between looks at whether the log has grown
LINE_CHARS_MAX = 1_000_000
_OWN = ("timestamp", "level", "event", "part", "exception")


def logs(*, follow: bool = False, level: str = "debug") -> int:
    if level not in LOG_LEVELS:
        raise RequestError("bad_level", f"there is no level {level!r}", f"there are: {', '.join(LOG_LEVELS)}")
    file = Paths.find(os.environ).log
    for line in lines(file, follow=follow):
        said = readable(line, LOG_LEVELS.index(level))
        if said:
            print(said, flush=follow)
    return exits.DONE


def lines(file: Path, *, follow: bool) -> Iterator[str]:
    """The last SHOWN lines of `file`, then, with `follow`, each new one, in whichever file they go on."""
    stream = _opened(file)
    yield from deque(stream, SHOWN)
    while follow:
        stream = _grown(file, stream)
        yield from iter(lambda: stream.readline(LINE_CHARS_MAX), "")  # noqa: B023 - used up before the next turn
    stream.close()


def _grown(file: Path, stream: IO[str]) -> IO[str]:
    """Wait a moment; the file to read on in, which is another one after the log has been rotated."""
    select.select([], [], [], LOOK_S)
    try:
        is_same = file.stat().st_ino == os.fstat(stream.fileno()).st_ino
    except FileNotFoundError:
        return stream  # in the middle of being rotated
    if is_same or stream.read(1):
        return stream
    stream.close()
    return _opened(file)


def _opened(file: Path) -> IO[str]:
    try:
        return file.open(encoding="utf-8", errors="replace")
    except OSError as error:
        raise SplootError(f"{file}: {error.strerror}", "it is there once the daemon has run: sploot status") from error


def readable(line: str, least: int) -> str | None:
    """One line of the log for people, or None when its level is below `least`."""
    try:
        entry: dict[str, Any] = json.loads(line)
        at, level = moment(entry["timestamp"]), str(entry["level"])
    except (ValueError, KeyError, TypeError):
        return safe(line.rstrip("\n")) or None
    if level in LOG_LEVELS[:least]:
        return None
    paint = style()
    paints: dict[str, Callable[[str], str]] = {"debug": paint.dim, "info": str, "warning": paint.warn}
    about = " ".join(f"{key}={safe(str(value))}" for key, value in entry.items() if key not in _OWN)
    start = f"{at} {paints.get(level, paint.bad)(f'{level:<7}')} {entry.get('part', '-')}"
    said = f"{start}: {safe(str(entry.get('event', '')))} {paint.dim(about)}".rstrip()
    trace = "".join(f"\n    {safe(each)}" for each in str(entry.get("exception", "")).splitlines())
    return said + trace
