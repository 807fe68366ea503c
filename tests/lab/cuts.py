"""One power cut: a program at work on a file system of its own, the power gone at some moment, and what is left."""

import asyncio
import random
import select
import subprocess
from typing import IO

from lab import uploads
from lab.library_truth import check_library
from lab.mounts import PowerCuts
from lab.programs import NEVER, TESTS, store_work
from lab.store_truth import Promises

STORE_LINES_MAX = 600  # acknowledgements before the cut, at most
LIBRARY_UPLOADS_MAX = 80
CONNECTIONS = 4
WAIT_S_MAX = 30.0


def cut_the_store(disk: PowerCuts, seed: int) -> int:
    """AssertionError when something that the daemon's store had acknowledged is lost, or the file is damaged.

    Returns the number of promises kept. With every second seed the program goes on without its disk for as long as it
    can. The state is another one for each seed, and the disk goes on being used.
    """
    folder = disk.root / f"state-{seed}"
    folder.mkdir()
    lines = random.Random(seed).randint(1, STORE_LINES_MAX)
    with subprocess.Popen(
        store_work("busy", folder, seed), cwd=TESTS, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        try:
            told = _hear(process.stdout, lines)
            disk.cut()
            if seed % 2:
                told += _hear(process.stdout, NEVER)
        finally:
            process.kill()
        told += process.stdout.read()
    disk.come_back()
    promises = Promises.of(told)
    asyncio.run(promises.check(folder))
    return len(promises)


def _hear(pipe: IO[bytes], lines: int) -> bytes:
    """So many lines of what a program says, or all that it says."""
    told = b""
    while told.count(b"\n") < lines:
        assert select.select([pipe], [], [], WAIT_S_MAX)[0], "the program does nothing"
        piece = pipe.read1(1 << 16)  # type: ignore[attr-defined]
        if not piece:
            break
        told += piece
    return told


def cut_the_library(disk: PowerCuts, seed: int) -> int:
    """The same for the library server, while several connections upload to it. Returns the number of uploads kept.

    What is answered once the power goes does not count: a sync that was under way then may be told to have succeeded
    (by ext4 and by xfs, as a bare loop of write and fdatasync shows), which without power nobody would have heard.
    """
    data, socket_path = disk.root / f"library-{seed}", disk.root.with_name("socket")
    going = uploads.Uploads(seed)
    with uploads.serving(data, socket_path) as server:
        try:
            with going.going_on(socket_path, CONNECTIONS):
                going.wait_for(random.Random(seed).randint(1, LIBRARY_UPLOADS_MAX), WAIT_S_MAX)
                acknowledged = going.so_far()
                disk.cut()
                if seed % 2:
                    going.wait_for_refusal(WAIT_S_MAX)
                uploads.kill(server)
        finally:
            uploads.kill(server)
    disk.come_back()
    asyncio.run(check_library(data, acknowledged))
    return len(acknowledged)
