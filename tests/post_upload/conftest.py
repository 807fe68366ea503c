from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from post_upload_fixtures import MoveHarness, move_harness


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[MoveHarness]:
    async with move_harness(tmp_path) as harness:
        yield harness
