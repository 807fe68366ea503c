"""The memory that a worker process may use: what its models need, plus its share of the machine.

A small file may make a decoder ask for gigabytes in ways that no header shows. The limit makes such a request fail with
an error, instead of a machine without memory.
"""

import contextlib
import os
import resource
import threading
from collections.abc import Iterator
from pathlib import Path

SHARE_BYTES_MAX = 1_000_000_000  # beyond the models, for two images at once
THREAD_BYTES = 500_000_000  # for each more image at once
SHARES_PER_MACHINE = 4


def limit_memory(threads: int) -> int:
    """Limit this process to the data it has now and its share, and return the share in bytes. Linux only."""
    machine_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    share = min(max(SHARE_BYTES_MAX, threads * THREAD_BYTES), machine_bytes // SHARES_PER_MACHINE)
    with contextlib.suppress(OSError, ValueError):
        limit = _data_bytes() + share
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    return share


def _data_bytes() -> int:
    """Return what RLIMIT_DATA counts: private writable memory. Raises OSError without /proc."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmData:"))


def is_out_of_memory(error: Exception) -> bool:
    """Return whether an error reports failed allocation; native libraries raise classes of their own for it."""
    return isinstance(error, MemoryError) or any(each in str(error).lower() for each in ("memory", "bad_alloc"))


class Turns:
    """Lets up to `threads` requests run at once, or one alone."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._places = threading.Semaphore(threads)
        self._one_alone = threading.Lock()

    @contextlib.contextmanager
    def shared(self) -> Iterator[None]:
        with self._places:
            yield

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Wait until no other request runs, and let none start."""
        with self._one_alone, contextlib.ExitStack() as places:
            for _ in range(self._threads):
                places.enter_context(self._places)
            yield
