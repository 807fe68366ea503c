"""A program killed as it makes a call that changes a file, at one call after the other. Needs strace, but not root."""

import asyncio
import collections
import contextlib
import http.client
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from lab import strace, uploads
from lab.library_truth import check_library
from lab.programs import store_work
from lab.states import scratch
from lab.store_truth import Promises

CALLS = "pwrite64,write,fsync,fdatasync,ftruncate,rename,unlink,unlinkat,mkdir"
NEVER = 65_535  # as high as strace counts
UPLOADS = 6

Moment = tuple[str, int]  # the name of a call, and the how many-th of one thread it is


def moments_of_the_store() -> list[Moment]:
    """All there are to kill a tour of the store at."""
    with scratch() as work:
        (work / "state").mkdir()
        done = strace.run_killed(store_work("tour", work / "state"), work / "log", (CALLS, NEVER))
        assert done.returncode == 0, done.stderr.decode()
        return _moments(work / "log")


def kill_the_store(moment: Moment) -> bool:
    """Kill a tour of the store, and hold what is left to what it had told; false if it outlived it."""
    with scratch() as work:
        folder = work / "state"
        folder.mkdir()
        done = strace.run_killed(store_work("tour", folder), work / "log", moment)
        _hold(Promises.of(done.stdout).check(folder), moment)
        return done.returncode != 0


def moments_of_the_library() -> list[Moment]:
    """All there are to kill the library server at."""
    with scratch() as work:
        killed, _ = _upload(work, (CALLS, NEVER))
        assert not killed
        return _moments(work / "log")


def kill_the_library(moment: Moment) -> bool:
    """The same for the library server under uploads."""
    with scratch() as work:
        killed, acknowledged = _upload(work, moment)
        _hold(check_library(work / "library", acknowledged), moment)
        return killed


def _hold(check: Coroutine[Any, Any, object], moment: Moment) -> None:
    try:
        asyncio.run(check)
    except Exception as error:
        raise AssertionError(f"killed at call {moment[1]} of {moment[0]}: {error}") from error


def _upload(work: Path, moment: Moment) -> tuple[bool, set[str]]:
    """Whether the server was killed, and what it had acknowledged."""
    data, socket_path, going = work / "library", work / "socket", uploads.Uploads(0)
    data.mkdir()
    prefix = strace.killing(work / "log", moment)
    try:
        with (
            uploads.serving(data, socket_path, prefix=prefix) as server,
            contextlib.closing(uploads.Connection(socket_path)) as connection,
        ):
            for number in range(UPLOADS):
                going.send(connection, uploads.picture(0, number))
            going.hand_over(connection, work / "sources", UPLOADS)
    except (uploads.NotReady, OSError, http.client.HTTPException):
        return True, going.acknowledged
    return server.returncode != 0, going.acknowledged


def _moments(log: Path) -> list[Moment]:
    """Up to the highest number of each call that one thread has made."""
    begun = [line.split(maxsplit=1) for line in log.read_text().splitlines() if " resumed>" not in line]
    counts = collections.Counter((thread, call.split("(")[0]) for thread, call in begun if "(" in call)
    most: dict[str, int] = {}
    for (_, name), count in counts.items():
        most[name] = max(count, most.get(name, 0))
    return [(name, at) for name, count in sorted(most.items()) for at in range(1, count + 1)]
