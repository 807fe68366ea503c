from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from store_fixtures import Opener

from splootd.store.database import Database


@pytest.fixture
async def open_database() -> AsyncIterator[Opener]:
    """Open databases, and close them after the test: the thread of a connection outlives a failed test."""
    databases: list[Database] = []

    async def open_one(path: Path) -> Database:
        databases.append(await Database.open(path))
        return databases[-1]

    yield open_one
    for database in databases:
        await database.close()


@pytest.fixture
async def database(tmp_path: Path, open_database: Opener) -> Database:
    return await open_database(tmp_path / "queue.db")
