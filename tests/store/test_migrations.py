"""Migrations: forward only, one transaction per step, with a backup first. The next version is made up."""

import contextlib
import sqlite3
from pathlib import Path

import pytest
from store_fixtures import Opener, Store, insert, names, open_store, version

from splootd.core.item import Priority, State
from splootd.errors import StoreFailed, StoreNewer
from splootd.store import schema
from splootd.store.maintenance import check_integrity, seconds_since_integrity_check
from splootd.store.recovery import open_or_recover, stage_restore

NEWEST = max(schema.migrations())
NEXT = {NEWEST + 1: "ALTER TABLE servers ADD COLUMN name TEXT; UPDATE servers SET name = url;"}
BROKEN = "DROP TABLE item_counts; SELECT nonsense;"


def use_migrations(monkeypatch: pytest.MonkeyPatch, steps: dict[int, str]) -> None:
    """Make `steps` the versions after the newest one."""
    migrations = schema.migrations() | steps
    monkeypatch.setattr(schema, "migrations", lambda: migrations)


def user_version(path: Path) -> int:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


async def described(path: Path) -> list[tuple[str, ...]]:
    async with open_store(path) as store:
        query = "SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite_stat%' ORDER BY 1, 2"
        return await store.rows(query)


async def fill(store: Store) -> None:
    """Write rows to every table that a migration has to keep."""
    options = {"priority": Priority.NORMAL, "tags": ("ü", "t"), "force": False, "now": 1.0}
    folder = await store.folder_store.watch(
        b"/m\xff", device=1, inode=2**64 - 1, priority=Priority.BACKGROUND, tags=["a"], now=1.0
    )
    await store.import_store.start_import("key", paths=[folder.path], **options)
    for number, state in enumerate(State):
        await store.new_in(state, number)
    await store.put(b"/memes/3.png", version(99))
    await store.idempotency_store.store_response("key", '{"answer": 42}', now=1.0)
    await store.settings_store.set("paused", "yes", now=1.0)
    await store.ledger.start_upload(b"\1" * 32, "/api/upload/resumable/1", now=1.0)


async def content_of(store: Store) -> dict[str, list[tuple[object, ...]]]:
    tables = (
        "folders", "imports", "import_roots", "items", "import_items", "ledger", "attempts", "events", "item_counts",
        "idempotency_keys", "resumable_uploads", "cache_epoch",
    )  # fmt: skip
    return {table: await store.rows(f"SELECT * FROM {table}") for table in tables}


def test_the_versions_are_consecutive() -> None:
    assert sorted(schema.migrations()) == list(range(1, NEWEST + 1))


async def test_a_migration_keeps_the_rows_and_a_backup_from_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, open_database: Opener
) -> None:
    path = tmp_path / "queue.db"
    database = await open_database(path)
    await database.write(insert("kept"))
    await database.close()
    use_migrations(monkeypatch, NEXT)
    migrated = await open_database(path)
    assert await migrated.read(names) == {"kept"}
    assert await migrated.read(lambda connection: connection.execute("SELECT name FROM servers").fetchall()) == []
    await migrated.close()
    monkeypatch.undo()
    with pytest.raises(StoreNewer):
        await open_database(path)
    backup = await open_database(tmp_path / f"queue.db.v{NEWEST}.backup")
    assert await backup.read(names) == {"kept"}
    await backup.close()


async def test_a_migration_keeps_the_content_of_all_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "queue.db"
    async with open_store(path) as store:
        await fill(store)
        before = await content_of(store)
    use_migrations(monkeypatch, NEXT)
    async with open_store(path) as store:
        assert await content_of(store) == before
        assert await store.rows("SELECT name = url FROM servers") == [(1,)]
        assert await store.settings_store.get("paused") == "yes"
        await store.assert_sums_are_right()


async def test_a_migrated_database_has_the_schema_of_a_new_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await described(tmp_path / "old.db")
    use_migrations(monkeypatch, NEXT)
    assert await described(tmp_path / "old.db") == await described(tmp_path / "new.db")


async def test_a_new_database_has_no_backup(tmp_path: Path, open_database: Opener) -> None:
    await (await open_database(tmp_path / "queue.db")).close()
    assert not (tmp_path / f"queue.db.v{NEWEST}.backup").exists()


async def test_a_migration_that_fails_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, open_database: Opener
) -> None:
    path = tmp_path / "queue.db"
    await (await open_database(path)).close()
    use_migrations(monkeypatch, {NEWEST + 1: BROKEN})
    with pytest.raises(StoreFailed, match="no such column"):
        await open_database(path)
    monkeypatch.undo()
    assert user_version(path) == NEWEST
    database = await open_database(path)
    count = await database.read(lambda connection: connection.execute("SELECT count(*) FROM item_counts").fetchone()[0])
    assert count == 0
    await database.close()


async def test_an_interrupted_migration_continues_after_its_last_complete_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, open_database: Opener
) -> None:
    path = tmp_path / "queue.db"
    database = await open_database(path)
    await database.write(insert("kept"))
    await database.close()
    use_migrations(monkeypatch, NEXT | {NEWEST + 2: BROKEN})
    with pytest.raises(StoreFailed, match="no such column"):
        await open_database(path)
    assert user_version(path) == NEWEST + 1
    monkeypatch.undo()
    use_migrations(monkeypatch, NEXT | {NEWEST + 2: "CREATE TABLE made_up (id INTEGER) STRICT;"})
    database = await open_database(path)
    assert await database.read(names) == {"kept"}
    await database.close()
    assert user_version(path) == NEWEST + 2
    assert [user_version(tmp_path / f"queue.db.v{NEWEST + step}.backup") for step in (0, 1)] == [NEWEST, NEWEST + 1]


async def test_a_restored_backup_of_an_earlier_version_is_migrated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, open_database: Opener
) -> None:
    old, path = tmp_path / "old.db", tmp_path / "queue.db"
    database = await open_database(old)
    await database.write(insert("kept"))
    await database.close()
    use_migrations(monkeypatch, NEXT)
    await stage_restore(old, path)
    restored = await open_or_recover(path, tmp_path / "backups", now=1.0)
    assert await restored.read(names) == {"kept"}
    await restored.close()
    assert (user_version(old), user_version(path)) == (NEWEST, NEWEST + 1)


async def test_the_age_of_the_integrity_check_is_unknown_before_the_first_one(tmp_path: Path) -> None:
    async with open_store(tmp_path / "queue.db") as store:
        assert await seconds_since_integrity_check(store.database, now=2_000.0) is None
        await check_integrity(store.database, now=2_000.0)
        assert await seconds_since_integrity_check(store.database, now=2_060.0) == 60.0
