"""One power cut: a program runs on its own file system, the power fails at a random moment, and a check follows."""

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
    """Raise AssertionError if the store has lost an acknowledged write, or its file is damaged.

    Returns the number of acknowledgements. With every second seed the program runs on without its disk as long as it
    can. Each seed has its own folder; all use the same file system.
    """
    folder = disk.root / f"state-{seed}"
    folder.mkdir()
    lines = random.Random(seed).randint(1, STORE_LINES_MAX)
    with subprocess.Popen(
        store_work("busy", folder, seed), cwd=TESTS, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        try:
            output = _read_lines(process.stdout, lines)
            disk.cut()
            if seed % 2:
                output += _read_lines(process.stdout, NEVER)
        finally:
            process.kill()
        output += process.stdout.read()
    disk.restore_power()
    promises = Promises.of(output)
    asyncio.run(promises.check(folder))
    return len(promises)


def _read_lines(pipe: IO[bytes], lines: int) -> bytes:
    """Read `lines` lines of the output of a program, or all of it."""
    output = b""
    while output.count(b"\n") < lines:
        assert select.select([pipe], [], [], WAIT_S_MAX)[0], "the program has no output"
        piece = pipe.read1(1 << 16)  # type: ignore[attr-defined]
        if not piece:
            break
        output += piece
    return output


def cut_the_library(disk: PowerCuts, seed: int) -> int:
    """Do the same with the library server while several connections upload. Returns the number of acknowledged uploads.

    A response after the power cut does not count: ext4 and xfs can report success for a sync that runs at that moment,
    as a plain loop of write and fdatasync shows. Without power no client would have received the response.
    """
    data, socket_path = disk.root / f"library-{seed}", disk.root.with_name("socket")
    uploader = uploads.Uploads(seed)
    with uploads.serving(data, socket_path) as server:
        try:
            with uploader.running(socket_path, CONNECTIONS):
                uploader.wait_for(random.Random(seed).randint(1, LIBRARY_UPLOADS_MAX), WAIT_S_MAX)
                acknowledged = uploader.acknowledged_so_far()
                disk.cut()
                if seed % 2:
                    uploader.wait_for_rejection(WAIT_S_MAX)
                uploads.kill(server)
        finally:
            uploads.kill(server)
    disk.restore_power()
    asyncio.run(check_library(data, acknowledged))
    return len(acknowledged)
