"""A watcher and an intake at work on a store, and an empty folder to watch."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from storekit import Store
from watchkit import Post, manned


@pytest.fixture
async def post(store: Store) -> AsyncIterator[Post]:
    async with manned(store) as post:
        yield post


@pytest.fixture
def memes(tmp_path: Path) -> Path:
    folder = tmp_path / "memes"
    folder.mkdir()
    return folder
