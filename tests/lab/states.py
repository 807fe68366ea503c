"""Every state that a power cut can leave, opened with the code of the programs. Needs strace, but not root."""

import asyncio
import json
import random
import re
import subprocess
import tempfile
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from lab import strace, uploads
from lab.crashes import CrashState, crash_states
from lab.disks import Tree, put
from lab.library_truth import check_library
from lab.programs import TESTS, store_work
from lab.store_truth import Promises, check_migrated, create_old_database, rows_of

BUSY_ITEMS = 120
UPLOADS = 10
CONNECTIONS = 3
SCRATCH = Path("/dev/shm")  # there are many small states, whose syncs need no disk

_STORED = re.compile(rb'"isDuplicate":.*?"checksum":"([0-9a-f]{64})"')
_PURGED = b"Asset permanently deleted"
_SEND_CALLS = ("write", "writev", "sendto", "sendmsg")


@contextmanager
def scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=SCRATCH if SCRATCH.is_dir() else None) as folder:
        yield Path(folder).resolve()


def output_of_the_store(call: strace.Call) -> Iterator[bytes]:
    """Yield the standard output of a call."""
    if call.name == "write" and call.descriptors()[0][0] == 1:
        yield call.texts()[0][: call.result]


def output_of_the_library(call: strace.Call) -> Iterator[bytes]:
    """Yield the checksums of acknowledged uploads, and the message about a purged asset."""
    if call.name in _SEND_CALLS and call.descriptors()[0][1].startswith("socket"):
        response = b"".join(call.texts())
        yield from (found[1] for found in _STORED.finditer(response))
        if _PURGED in response:
            yield _PURGED


def explore_the_store(kind: str, seed: int, *, points_max: int, draws: int) -> int:
    """Record one kind of `store_work`, and check each state against the output until then. Returns their number."""
    with scratch() as work:
        states = _states_of_the_store(work, kind, {}, seed, points_max=points_max, draws=draws)
        return examine(states, lambda state, folder: Promises.of(state.output).check(folder))


def explore_the_recovery(seed: int, *, crashes: int, points_max: int, draws: int) -> int:
    """Cut the power again while the store is opened after a power cut. Returns the number of states."""
    chance = random.Random(seed)
    with scratch() as work:
        every = list(_states_of_the_store(work, "tour", {}, seed, points_max=points_max, draws=draws))
    count = 0
    for first in chance.sample(every, min(crashes, len(every))):
        promises = Promises.of(first.output)
        with scratch() as work:
            again = _states_of_the_store(work, "open", first.tree, seed, points_max=points_max, draws=draws)
            count += examine(again, partial(_check_promises, promises))
    return count


def explore_the_migration(seed: int, *, points_max: int, draws: int) -> int:
    """Cut the power while a database is migrated to the made-up next version. Returns the number of states."""
    with scratch() as work:
        database = asyncio.run(create_old_database(work))
        before: Tree = {"queue.db": database.read_bytes()}
        rows = rows_of(database)
    with scratch() as work:
        states = _states_of_the_store(work, "migrate", before, seed, points_max=points_max, draws=draws)
        return examine(states, lambda _, folder: check_migrated(folder, rows))


def _states_of_the_store(
    work: Path, kind: str, before: Tree, seed: int, *, points_max: int, draws: int
) -> Iterator[CrashState]:
    root, log = work / "state", work / "log"
    root.mkdir()
    put(before, root)
    command = [*strace.recording(log), *store_work(kind, root, seed, BUSY_ITEMS)]
    subprocess.run(command, cwd=TESTS, check=True, stdout=subprocess.PIPE)
    chance = random.Random(seed)
    return crash_states(log, root, output_of_the_store, chance, points_max=points_max, draws=draws, before=before)


def explore_the_library(seed: int, *, points_max: int, draws: int) -> int:
    """Do the same with the library server during uploads, one of which is purged and uploaded again."""
    first = uploads.checksum(uploads.picture(seed, 0))
    with scratch() as work:
        root, log = work / "library", work / "log"
        root.mkdir()
        _upload(root, work / "socket", strace.recording(log), seed)
        states = crash_states(log, root, output_of_the_library, random.Random(seed), points_max=points_max, draws=draws)

        async def check(state: CrashState, folder: Path) -> None:
            kept = {output.decode() for output in state.output if output != _PURGED}
            if _PURGED not in state.output or first.encode() not in state.output[state.output.index(_PURGED) :]:
                kept.discard(first)  # unknown: it is being purged
            await check_library(folder, kept)

        return examine(states, check)


def _upload(data: Path, socket_path: Path, prefix: list[str], seed: int) -> None:
    uploader = uploads.Uploads(seed)
    with uploads.serving(data, socket_path, prefix=prefix):
        with uploader.running(socket_path, CONNECTIONS):
            uploader.wait_for(UPLOADS, uploads.TIMEOUT_S)
        connection = uploads.Connection(socket_path)
        first = uploads.picture(seed, 0)
        _, response = connection.upload(first)
        assert connection.delete(response["asset"]["id"], permanently=True) == 200
        assert connection.upload(first)[0] == 201
        connection.close()


async def _check_promises(promises: Promises, _: CrashState, folder: Path) -> None:
    await promises.check(folder)


def examine(states: Iterable[CrashState], check: Callable[[CrashState, Path], Coroutine[Any, Any, object]]) -> int:
    count = 0
    for state in states:
        with scratch() as folder:
            put(state.tree, folder)
            try:
                asyncio.run(check(state, folder))
            except Exception as error:
                names = json.dumps({path: len(content or b"") for path, content in state.tree.items()})
                raise AssertionError(f"{state}: {error}\nfiles and their bytes: {names}") from error
        count += 1
    return count
