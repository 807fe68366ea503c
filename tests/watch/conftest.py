"""A running watcher on an empty store, and an empty folder to watch."""

import ctypes
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from store_fixtures import Store
from watch_fixtures import WatchHarness, running_watcher

LINUX_CAPABILITY_VERSION_3 = 0x20080522
DAC_CAPABILITIES = 1 << 1 | 1 << 2  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH


@pytest.fixture
def ordinary_permissions() -> Iterator[None]:
    """Let file modes apply even to root: drop two capabilities of this thread and of those that it starts."""
    if os.geteuid() != 0:
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(LINUX_CAPABILITY_VERSION_3, 0)
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted and inheritable, twice: the low and the high 32 bits
    assert libc.capget(header, sets) == 0
    sets[0] &= ~DAC_CAPABILITIES
    assert libc.capset(header, sets) == 0
    yield
    sets[0] |= DAC_CAPABILITIES & sets[1]
    assert libc.capset(header, sets) == 0


@pytest.fixture
async def harness(store: Store) -> AsyncIterator[WatchHarness]:
    async with running_watcher(store) as harness:
        yield harness


@pytest.fixture
def memes(tmp_path: Path) -> Path:
    folder = tmp_path / "memes"
    folder.mkdir()
    return folder
