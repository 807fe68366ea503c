"""Every state that a power cut may leave behind, opened with the programs' own code. Needs strace, but not root."""

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
from lab.store_truth import Promises, check_migrated, rows_of

BUSY_ITEMS = 120
UPLOADS = 10
CONNECTIONS = 3
SCRATCH = Path("/dev/shm")  # states are many and small, and their syncs need not reach a disk

_STORED = re.compile(rb'"isDuplicate":.*?"checksum":"([0-9a-f]{64})"')
_PURGED = b"Asset permanently deleted"
_ANSWERS = ("write", "writev", "sendto", "sendmsg")


@contextmanager
def scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=SCRATCH if SCRATCH.is_dir() else None) as folder:
        yield Path(folder).resolve()


def told_by_the_store(call: strace.Call) -> Iterator[bytes]:
    """What goes to standard output."""
    if call.name == "write" and call.descriptors()[0][0] == 1:
        yield call.texts()[0][: call.result]


def told_by_the_library(call: strace.Call) -> Iterator[bytes]:
    """The checksums of the uploads that are answered with success, and that a picture is removed."""
    if call.name in _ANSWERS and call.descriptors()[0][1].startswith("socket"):
        answer = b"".join(call.texts())
        yield from (found[1] for found in _STORED.finditer(answer))
        if _PURGED in answer:
            yield _PURGED


def explore_the_store(kind: str, seed: int, *, points_max: int, draws: int) -> int:
    """Record `store_work` of a kind, and hold each state to what was told by then. Returns how many states."""
    with scratch() as work:
        states = _states_of_the_store(work, kind, {}, seed, points_max=points_max, draws=draws)
        return examine(states, lambda state, folder: Promises.of(state.told).check(folder))


def explore_the_recovery(seed: int, *, crashes: int, points_max: int, draws: int) -> int:
    """The power goes once more, while the store is opened after a power cut. Returns how many states."""
    chance = random.Random(seed)
    with scratch() as work:
        every = list(_states_of_the_store(work, "tour", {}, seed, points_max=points_max, draws=draws))
    count = 0
    for first in chance.sample(every, min(crashes, len(every))):
        promises = Promises.of(first.told)
        with scratch() as work:
            again = _states_of_the_store(work, "open", first.tree, seed, points_max=points_max, draws=draws)
            count += examine(again, partial(_hold_to, promises))
    return count


def explore_the_migration(database: Path, seed: int, *, points_max: int, draws: int) -> int:
    """The power goes while a database of an earlier version is opened. Returns how many states."""
    before: Tree = {"queue.db": database.read_bytes()}
    rows = rows_of(database)

    with scratch() as work:
        states = _states_of_the_store(work, "open", before, seed, points_max=points_max, draws=draws)
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
    return crash_states(log, root, told_by_the_store, chance, points_max=points_max, draws=draws, before=before)


def explore_the_library(seed: int, *, points_max: int, draws: int) -> int:
    """The same for the library server under uploads, one of which is removed for ever and sent again."""
    first = uploads.checksum(uploads.picture(seed, 0))
    with scratch() as work:
        root, log = work / "library", work / "log"
        root.mkdir()
        _upload(root, work / "socket", strace.recording(log), seed)
        states = crash_states(log, root, told_by_the_library, random.Random(seed), points_max=points_max, draws=draws)

        async def check(state: CrashState, folder: Path) -> None:
            kept = {told.decode() for told in state.told if told != _PURGED}
            if _PURGED not in state.told or first.encode() not in state.told[state.told.index(_PURGED) :]:
                kept.discard(first)  # nobody knows: it is being removed
            await check_library(folder, kept)

        return examine(states, check)


def _upload(data: Path, socket_path: Path, prefix: list[str], seed: int) -> None:
    going = uploads.Uploads(seed)
    with uploads.serving(data, socket_path, prefix=prefix):
        with going.going_on(socket_path, CONNECTIONS):
            going.wait_for(UPLOADS, uploads.TIMEOUT_S)
        connection = uploads.Connection(socket_path)
        first = uploads.picture(seed, 0)
        _, answer = connection.upload(first)
        assert connection.delete(answer["asset"]["id"], permanently=True) == 200
        assert connection.upload(first)[0] == 201
        connection.close()


async def _hold_to(promises: Promises, _: CrashState, folder: Path) -> None:
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
