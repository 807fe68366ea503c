"""Migrations of both databases, from the first schema to a made-up next version: forward only, all or nothing."""

import sqlite3
from pathlib import Path

import asyncpg
import postgres
import pytest
from sploot_server.auth.accounts import AccountStore
from sploot_server.domain.asset_query import AssetQuery
from sploot_server.storage.interfaces import DatabaseError
from sploot_server.storage.postgres import database as in_postgres
from sploot_server.storage.postgres.assets import PostgresAssets
from sploot_server.storage.postgres.database import PostgresDatabase
from sploot_server.storage.sqlite import database as in_sqlite
from sploot_server.storage.sqlite.assets import SqliteAssets
from sploot_server.storage.sqlite.database import APPLICATION_ID, Database

SQLITE, POSTGRES = in_sqlite._migrations(), in_postgres.migrations()
ROWS = """
    INSERT INTO assets (row, id, checksum, filename, mime, size_bytes, favorite, created_at, updated_at, deleted_at)
      {system} VALUES (3, 'c3', '{one}', 'a.jpg', 'image/jpeg', 5, {true}, 10, 20, NULL),
                      (4, 'c4', '{two}', 'b.jpg', 'image/jpeg', 6, {false}, 11, 21, 22);
    INSERT INTO embeddings (asset, queued_at, due_at) VALUES (3, 10, 10), (4, 11, 11);
    INSERT INTO tags (row, id, name, folded_name, created_at) {system} VALUES (7, 't7', 'Cat', 'cat', 10);
    INSERT INTO asset_tags (asset, tag) VALUES (3, 7), (4, 7);
    INSERT INTO users (id, name, folded_name, created_at) VALUES ('u1', 'Anna', 'anna', 10);
    INSERT INTO tokens (id, "user", name, digest, scopes, created_at)
      VALUES ('k1', 'u1', 'phone', {digest}, 'read', 10);
"""
VALUES = {"one": "1" * 64, "two": "2" * 64}
# Rebuilds a table that others reference. With foreign keys on, DROP TABLE would delete its users' tokens.
NEXT_SQLITE = """
    CREATE TABLE users_rebuilt (
      id TEXT PRIMARY KEY, name TEXT NOT NULL, folded_name TEXT NOT NULL UNIQUE, created_at INTEGER NOT NULL,
      quota_bytes INTEGER, is_admin INTEGER NOT NULL DEFAULT 0, email TEXT
    ) STRICT, WITHOUT ROWID;
    INSERT INTO users_rebuilt (id, name, folded_name, created_at) SELECT id, name, folded_name, created_at FROM users;
    DROP TABLE users;
    ALTER TABLE users_rebuilt RENAME TO users;
    CREATE INDEX users_by_email ON users (email)
"""
NEXT_POSTGRES = "ALTER TABLE users ADD COLUMN email text; CREATE INDEX users_by_email ON users (email)"
FAILING = "CREATE TABLE half_done (x integer); INSERT INTO no_such_table VALUES (1)"


async def check(assets: SqliteAssets | PostgresAssets, accounts: AccountStore) -> None:
    """Assert that all rows are intact: the live asset, the deleted one, the tag, the user and the token."""
    page = await assets.list(AssetQuery(limit=9))
    (kept,) = page.assets
    assert (kept.id, kept.filename, kept.favorite, kept.created_at_ms, kept.embedding.state) == (
        *("c3", "a.jpg", True, 10),
        "pending",
    )
    assert [(tag.id, tag.name) for tag in kept.tags] == [("t7", "Cat")]
    assert await assets.get_checksum("c4") == VALUES["two"]
    assert [user.name for user in await accounts.list_users()] == ["Anna"]
    assert [token.id for token in await accounts.list_tokens()] == ["k1"]


def sqlite_library(path: Path, *, damage: str = "") -> None:
    """Create a library of the first schema with some rows."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.executescript(SQLITE[0])
    connection.executescript(f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = 1")
    connection.executescript(ROWS.format(**VALUES, system="", true=1, false=0, digest=f"X'{'00' * 32}'") + damage)
    connection.close()


def schema_of(path: Path) -> list[tuple[str, ...]]:
    with sqlite3.connect(path) as connection:
        rows = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY 1, 2").fetchall()
    connection.close()
    return [tuple(map(str, row)) for row in rows]


def version_of(path: Path) -> int:
    connection = sqlite3.connect(path)
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    connection.close()
    return int(version)


@pytest.mark.parametrize("scripts", [SQLITE, [*SQLITE, NEXT_SQLITE]], ids=["first schema", "next version"])
async def test_a_library_in_sqlite_is_migrated_with_all_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scripts: list[str]
) -> None:
    sqlite_library(tmp_path / "library.db")
    monkeypatch.setattr(in_sqlite, "_migrations", lambda: scripts)
    for path in (tmp_path / "library.db", tmp_path / "new.db"):
        database = Database(path)
        database.open()
        if path.stem == "library":
            await check(SqliteAssets(database), AccountStore(database))
        foreign_keys = await database.write(lambda connection: connection.execute("PRAGMA foreign_keys").fetchone()[0])
        assert foreign_keys == 1
        await database.close()
        assert version_of(path) == len(scripts)
    assert schema_of(tmp_path / "library.db") == schema_of(tmp_path / "new.db")


async def test_a_migration_in_sqlite_that_leaves_broken_references_is_rolled_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "library.db"
    sqlite_library(path, damage="INSERT INTO embeddings (asset, queued_at, due_at) VALUES (99, 1, 1);")
    before = schema_of(path)
    monkeypatch.setattr(in_sqlite, "_migrations", lambda: [*SQLITE, NEXT_SQLITE])
    with pytest.raises(DatabaseError, match="broken references"):
        Database(path).open()
    assert (version_of(path), schema_of(path)) == (1, before)
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT count(*) FROM assets").fetchone() == (2,)
    connection.close()


async def test_a_migration_in_sqlite_that_fails_is_rolled_back_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each step is a transaction of its own: those before the failing one stay."""
    path = tmp_path / "library.db"
    sqlite_library(path)
    monkeypatch.setattr(in_sqlite, "_migrations", lambda: [*SQLITE, NEXT_SQLITE, FAILING])
    with pytest.raises(DatabaseError, match="no_such_table"):
        Database(path).open()
    assert version_of(path) == 2
    names = {name for _, name, _, _ in schema_of(path)}
    assert "users_by_email" in names
    assert "half_done" not in names


async def test_the_row_number_of_a_purged_asset_is_never_reused(tmp_path: Path) -> None:
    """The in-memory vector index is keyed by it."""
    sqlite_library(tmp_path / "library.db")
    database = Database(tmp_path / "library.db")
    database.open()
    assets = SqliteAssets(database)
    assert await assets.purge("c4") == VALUES["two"]
    left = await database.read(lambda connection: connection.execute("SELECT asset FROM embeddings").fetchall())
    assert [row["asset"] for row in left] == [3]
    await database.write(
        lambda connection: (
            connection.execute(
                "INSERT INTO assets (id, checksum, filename, mime, size_bytes, created_at, updated_at) "
                "VALUES ('c5', ?, 'c.jpg', 'image/jpeg', 7, 12, 12)",
                ("3" * 64,),
            )
            and None
        )
    )
    rows = await database.read(lambda connection: connection.execute("SELECT max(row) FROM assets").fetchone()[0])
    assert rows == 5
    await database.close()


SHAPE = """
    SELECT table_name, column_name, data_type, is_nullable, column_default FROM information_schema.columns
    WHERE table_schema = 'public' UNION ALL
    SELECT tablename, indexname, indexdef, '', '' FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1, 2
"""


async def postgres_library() -> str:
    """Create a library of the first schema with some rows; return its URL."""
    url = await postgres.empty_database()
    connection = await asyncpg.connect(url)
    await connection.execute("CREATE TABLE sploot_schema (version integer NOT NULL)")
    await connection.execute(POSTGRES[0])
    await connection.execute("INSERT INTO sploot_schema VALUES (1)")
    digest = f"'\\x{'00' * 32}'"
    await connection.execute(
        ROWS.format(**VALUES, system="OVERRIDING SYSTEM VALUE", true="true", false="false", digest=digest)
    )
    await connection.close()
    return url


@pytest.mark.parametrize("scripts", [POSTGRES, [*POSTGRES, NEXT_POSTGRES]], ids=["first schema", "next version"])
async def test_a_library_in_postgresql_is_migrated_with_all_rows(
    monkeypatch: pytest.MonkeyPatch, scripts: list[str]
) -> None:
    monkeypatch.setattr(in_postgres, "migrations", lambda: scripts)
    shapes = []
    for url in (await postgres_library(), await postgres.empty_database()):
        database = PostgresDatabase(url)
        await database.open()
        if not shapes:
            await check(PostgresAssets(database), AccountStore(database))
        [row] = await database.fetch("SELECT max(version) AS version FROM sploot_schema")
        assert row["version"] == len(scripts)
        shapes.append([tuple(row) for row in await database.fetch(SHAPE)])
        await database.close()
    assert shapes[0] == shapes[1]


async def test_a_migration_in_postgresql_that_fails_is_rolled_back_with_all_steps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url = await postgres_library()
    monkeypatch.setattr(in_postgres, "migrations", lambda: [*POSTGRES, NEXT_POSTGRES, FAILING])
    with pytest.raises(DatabaseError, match="no_such_table"):
        await PostgresDatabase(url).open()
    connection = await asyncpg.connect(url)
    assert await connection.fetchval("SELECT max(version) FROM sploot_schema") == 1
    assert await connection.fetchval("SELECT to_regclass('users_by_email')") is None
    assert await connection.fetchval("SELECT count(*) FROM assets") == 2
    await connection.close()


async def test_a_newer_library_in_postgresql_is_refused_untouched() -> None:
    url = await postgres_library()
    connection = await asyncpg.connect(url)
    await connection.execute("INSERT INTO sploot_schema VALUES (99)")
    with pytest.raises(DatabaseError, match="schema version 99"):
        await PostgresDatabase(url).open()
    assert await connection.fetchval("SELECT count(*) FROM assets") == 2
    await connection.close()
