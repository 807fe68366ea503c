"""Kills of a program at each system call that changes a file. Needs strace, but not root."""

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
NEVER = 65_535  # the maximum of strace
UPLOADS = 6

Moment = tuple[str, int]  # the name of a system call, and its number within one thread


def moments_of_the_store() -> list[Moment]:
    """Return every moment at which a tour of the store can be killed."""
    with scratch() as work:
        (work / "state").mkdir()
        done = strace.run_killed(store_work("tour", work / "state"), work / "log", (CALLS, NEVER))
        assert done.returncode == 0, done.stderr.decode()
        return _moments(work / "log")


def kill_the_store(moment: Moment) -> bool:
    """Kill a tour of the store and check its acknowledgements. Returns False if the program ended before the kill."""
    with scratch() as work:
        folder = work / "state"
        folder.mkdir()
        done = strace.run_killed(store_work("tour", folder), work / "log", moment)
        _check(Promises.of(done.stdout).check(folder), moment)
        return done.returncode != 0


def moments_of_the_library() -> list[Moment]:
    """Return every moment at which the library server can be killed."""
    with scratch() as work:
        killed, _ = _upload(work, (CALLS, NEVER))
        assert not killed
        return _moments(work / "log")


def kill_the_library(moment: Moment) -> bool:
    """Do the same with the library server during uploads."""
    with scratch() as work:
        killed, acknowledged = _upload(work, moment)
        _check(check_library(work / "library", acknowledged), moment)
        return killed


def _check(check: Coroutine[Any, Any, object], moment: Moment) -> None:
    try:
        asyncio.run(check)
    except Exception as error:
        raise AssertionError(f"killed at call {moment[1]} of {moment[0]}: {error}") from error


def _upload(work: Path, moment: Moment) -> tuple[bool, set[str]]:
    """Return whether the server was killed, and the checksums that it has acknowledged."""
    data, socket_path, uploader = work / "library", work / "socket", uploads.Uploads(0)
    data.mkdir()
    prefix = strace.killing(work / "log", moment)
    try:
        with (
            uploads.serving(data, socket_path, prefix=prefix) as server,
            contextlib.closing(uploads.Connection(socket_path)) as connection,
        ):
            for number in range(UPLOADS):
                uploader.send(connection, uploads.picture(0, number))
            uploader.upload_by_path(connection, work / "sources", UPLOADS)
    except (uploads.NotReady, OSError, http.client.HTTPException):
        return True, uploader.acknowledged
    return server.returncode != 0, uploader.acknowledged


def _moments(log: Path) -> list[Moment]:
    """Return a moment for each number up to the most calls of one thread, by call."""
    begun = [line.split(maxsplit=1) for line in log.read_text().splitlines() if " resumed>" not in line]
    counts = collections.Counter((thread, call.split("(")[0]) for thread, call in begun if "(" in call)
    most: dict[str, int] = {}
    for (_, name), count in counts.items():
        most[name] = max(count, most.get(name, 0))
    return [(name, at) for name, count in sorted(most.items()) for at in range(1, count + 1)]
