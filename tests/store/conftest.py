from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from storekit import Store, opened


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with opened(tmp_path / "queue.db") as store:
        yield store
