"""A running watcher on an empty store, and an empty folder to watch."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from store_fixtures import Store
from watch_fixtures import WatchHarness, running_watcher


@pytest.fixture
async def harness(store: Store) -> AsyncIterator[WatchHarness]:
    async with running_watcher(store) as harness:
        yield harness


@pytest.fixture
def memes(tmp_path: Path) -> Path:
    folder = tmp_path / "memes"
    folder.mkdir()
    return folder
