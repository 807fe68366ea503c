"""A library of any earlier version is brought to the newest, with everything in it, in both databases."""

import sqlite3
from pathlib import Path

import asyncpg
import postgres
import pytest
from sploot_server.accounts.postgres import PostgresAccounts
from sploot_server.accounts.sqlite import SqliteAccounts
from sploot_server.assets import database as in_sqlite
from sploot_server.assets.database import APPLICATION_ID, Database, DatabaseError
from sploot_server.assets.postgres import database as in_postgres
from sploot_server.assets.postgres.assets import PostgresAssets
from sploot_server.assets.postgres.database import PostgresDatabase
from sploot_server.assets.sqlite import SqliteAssets
from sploot_server.model import AssetQuery

SQLITE, POSTGRES = in_sqlite._migrations(), in_postgres.migrations()
ROWS = """
    INSERT INTO assets (row, id, checksum, filename, mime, size_bytes, favorite, created_at, updated_at, deleted_at)
      {system} VALUES (3, 'c3', '{one}', 'a.jpg', 'image/jpeg', 5, {true}, 10, 20, NULL),
                      (4, 'c4', '{two}', 'b.jpg', 'image/jpeg', 6, {false}, 11, 21, 22);
    INSERT INTO embeddings (asset, queued_at, due_at) VALUES (3, 10, 10), (4, 11, 11);
    INSERT INTO tags (row, id, name, folded, created_at) {system} VALUES (7, 't7', 'Cat', 'cat', 10);
    INSERT INTO asset_tags (asset, tag) VALUES (3, 7), (4, 7);
"""
WORDS = {"one": "1" * 64, "two": "2" * 64}


async def check(assets: SqliteAssets | PostgresAssets, accounts: SqliteAccounts | PostgresAccounts) -> None:
    """What was there is there, what was hidden is hidden, and there is nobody who could come in."""
    page = await assets.list(AssetQuery(limit=9))
    (kept,) = page.assets
    assert (kept.id, kept.filename, kept.favorite, kept.created_at_ms, kept.embedding.state) == (
        *("c3", "a.jpg", True, 10),
        "pending",
    )
    assert [(tag.id, tag.name) for tag in kept.tags] == [("t7", "Cat")]
    assert await assets.checksum_of("c4") == WORDS["two"]
    assert not await accounts.has_tokens()


def schema_of(path: Path) -> list[tuple[str, ...]]:
    with sqlite3.connect(path) as connection:
        rows = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY 1, 2").fetchall()
    connection.close()
    return [tuple(map(str, row)) for row in rows]


@pytest.mark.parametrize("version", range(1, len(SQLITE) + 1))
async def test_a_library_of_any_version_in_sqlite(tmp_path: Path, version: int) -> None:
    old = sqlite3.connect(tmp_path / "library.db", isolation_level=None)
    old.executescript(SQLITE[0] + ROWS.format(**WORDS, system="", true=1, false=0))
    for script in SQLITE[1:version]:
        old.executescript(script)
    old.executescript(f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {version}")
    old.close()
    for path in (tmp_path / "library.db", tmp_path / "new.db"):
        database = Database(path)
        database.open()
        if path.stem == "library":
            await check(SqliteAssets(database), SqliteAccounts(database))
        await database.close()
    assert schema_of(tmp_path / "library.db") == schema_of(tmp_path / "new.db")


SHAPE = """
    SELECT table_name, column_name, data_type, is_nullable, column_default FROM information_schema.columns
    WHERE table_schema = 'public' UNION ALL
    SELECT tablename, indexname, indexdef, '', '' FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1, 2
"""


async def of_version(version: int) -> str:
    """The address of a library in PostgreSQL that an earlier program has made, with something in it."""
    url = await postgres.empty_database()
    connection = await asyncpg.connect(url)
    await connection.execute("CREATE TABLE sploot_schema (version integer NOT NULL)")
    for number, script in enumerate(POSTGRES[:version], 1):
        await connection.execute(script)
        await connection.execute("INSERT INTO sploot_schema VALUES ($1)", number)
    await connection.execute(ROWS.format(**WORDS, system="OVERRIDING SYSTEM VALUE", true="true", false="false"))
    await connection.close()
    return url


@pytest.mark.parametrize("version", range(1, len(POSTGRES) + 1))
async def test_a_library_of_any_version_in_postgresql(version: int) -> None:
    shapes = []
    for url in (await of_version(version), await postgres.empty_database()):
        database = PostgresDatabase(url)
        await database.open()
        if not shapes:
            await check(PostgresAssets(database), PostgresAccounts(database))
        shapes.append([tuple(row) for row in await database.fetch(SHAPE)])
        await database.close()
    assert shapes[0] == shapes[1]


async def test_a_newer_library_in_postgresql_is_refused_untouched() -> None:
    url = await of_version(len(POSTGRES))
    connection = await asyncpg.connect(url)
    await connection.execute("INSERT INTO sploot_schema VALUES (99)")
    with pytest.raises(DatabaseError, match="schema 99"):
        await PostgresDatabase(url).open()
    assert await connection.fetchval("SELECT count(*) FROM assets") == 2
    await connection.close()
