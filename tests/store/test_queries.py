"""Query plans: no statement scans the table of items. Every statement is explained on a database with many rows."""

import asyncio
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from store_fixtures import open_store

import splootd.store
from splootd.store import schema
from splootd.store.queries import SQL, load

# The index of each statement. A statement with two parts uses two.
INDEXES = {
    "claimable": {"items_claimable"},
    "claimable_urgent": {"items_urgent"},
    "make_due": {"items_delayed"},
    "next_due": {"items_delayed"},
    "release_stale": {"items_leased"},
    "release_orphaned": {"items_leased"},
    "due_embeddings": {"items_embedding"},
    "next_embedding_due": {"items_embedding_by_next_at"},
    "ended_by_error_code_after": {"items_by_error_code"},
    "unsearchable_count": {"items_failed"},
    "latest_at_path": {"items_latest"},
    "superseded_at_path": {"items_superseded"},
    "is_known": {"items_latest", "items_by_inode"},
    "latest_by_inode": {"items_by_inode"},
    "unstage_known_inodes": {"items_by_inode"},
    "detach_items": {"items_by_folder"},
    "items_by_state": {"items_by_state_and_priority"},
    "items_by_folder": {"items_by_folder"},
    "items_by_error_code": {"items_by_error_code"},
    "items_by_state_after": {"items_by_state_and_priority"},
    "items_by_folder_after": {"items_by_folder"},
    "items_by_error_code_after": {"items_by_error_code"},
    "import_progress": {"items_by_import"},
    "paths_by_asset_id": {"items_by_asset"},
    "mark_asset_removed": {"ledger_by_asset"},
    "clamp_delays": {"items_delayed"},
    "clamp_polls": {"items_embedding_by_next_at"},
    "pending_actions": {"items_post_upload"},
    "moves_in_progress": {"moves_in_progress"},
    "move_by_item": {"moves_by_item"},
    "last_move": {"moves_moved"},
    "attempts": {"attempts_by_item"},
    "unfinished_roots": {"import_roots_unfinished"},
    "prune_idempotency_keys": {"idempotency_keys_by_created_at"},
    "prune_uploads": {"resumable_uploads_by_started_at"},
}
# Frequent statements: the index returns their rows in order, so nothing is sorted.
HOT = {
    "claimable", "claimable_urgent", "is_known", "make_due", "next_due", "due_embeddings", "next_embedding_due",
    "items", "items_by_state", "items_by_folder", "items_by_error_code", "items_after", "items_by_state_after",
    "items_by_folder_after", "items_by_error_code_after", "ended_by_error_code_after", "events",
    "import_progress", "pending_actions",
}  # fmt: skip
# Small tables. A scan of a partial index is allowed too, except on items: it contains only wanted rows.
MAY_SCAN = {"json_each", "cache_epoch", "folders", "imports", "import_roots", "moves", "CONSTANT", "temp"}
# Indexes so small that a statement may read all their rows of one server.
MAY_READ_WHOLE = {"items_urgent", "items_delayed", "items_embedding", "items_embedding_by_next_at", "items_post_upload"}
# Indexes for queries that users run with other tools.
PLAIN = {
    "SELECT id FROM items WHERE state = 'failed'": "items_by_state_and_priority",
    "SELECT id FROM items WHERE added_at > 1e9": "items_by_added_at",
    "SELECT id FROM items WHERE priority = 0": "items_by_priority",
    "SELECT id FROM items WHERE priority = 0 AND state = 'failed'": "items_by_state_and_priority",
}

FILL = """
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
INSERT INTO items (server_id, path, size, mtime_ns, device, inode, priority, shard, added_at, updated_at, folder_id,
  import_id, tags, force)
SELECT 1, CAST('/memes/' || i AS BLOB), i, i, 1, i, i % 3, i % 16, i, i, 1, i % 7, '[]', 0 FROM n
"""
LEAD = [
    "UPDATE items SET next_at = 5 WHERE id % 10 = 1",
    "UPDATE items SET state = 'uploading', lease = 'b:' || id WHERE id % 10 > 2",
    """UPDATE items SET state = 'embedding', lease = NULL, asset_id = id, sha256 = randomblob(32), accepted_at = id,
      next_at = id WHERE id % 10 > 3""",
    "UPDATE items SET state = 'ready', next_at = NULL WHERE id % 10 > 5",
    """UPDATE items SET state = 'failed', next_at = NULL, error_code = 'f' || id % 5, error_message = 'r'
      WHERE id % 50 = 5""",
]


class Anything(dict[str, None]):
    """Parameters of a statement that is only explained."""

    def __missing__(self, key: str) -> None:
        return None


def plan(connection: sqlite3.Connection, sql: str) -> str:
    values = [None] * sql.count("?") or Anything()
    return "\n".join(row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", values))


def find_problems(connection: sqlite3.Connection) -> list[str]:
    """Return the problems in the plans of all statements."""
    partial = {row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE sql LIKE '%INDEX% WHERE %'")}
    found = []
    for name, sql in SQL.items():
        try:
            steps = plan(connection, sql)
        except sqlite3.OperationalError as error:  # the index of its INDEXED BY does not exist
            found.append(f"{name}: {error}")
            continue
        for table, index in re.findall(r"SCAN (\w+)(?: USING (?:COVERING )?INDEX (\w+))?", steps):
            if table not in MAY_SCAN | {name} and (table == "items" or index not in partial):
                found.append(f"{name} scans {table}")
        found += [
            f"{name} reads all of {index}"
            for index in re.findall(r"USING (?:COVERING )?INDEX (\w+) \(server_id=\?\)", steps)
            if index.startswith("items") and index not in MAY_READ_WHOLE
        ]
        if name in HOT and "TEMP B-TREE" in steps:
            found.append(f"{name} sorts")
        found += [f"{name} misses {index}" for index in INDEXES.get(name, ()) if index not in steps.split()]
    found += [f"{index} does not serve {sql}" for sql, index in PLAIN.items() if index not in plan(connection, sql)]
    return found


@pytest.fixture(scope="module", params=["unanalysed", "analysed"])
def connection(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[sqlite3.Connection]:
    """Return a database with rows in most states, without and with the statistics that change SQLite's plans."""
    path: Path = tmp_path_factory.mktemp("plans") / "queue.db"

    async def make() -> None:
        async with open_store(path):
            pass

    asyncio.run(make())
    connection = sqlite3.connect(
        path, isolation_level=None, cached_statements=0
    )  # a cached statement keeps its old plan
    schema.create_staging_tables(connection)
    connection.execute(
        "INSERT INTO folders (path, device, inode, priority, tags, added_at) VALUES (x'2f', 1, 1, 1, '[]', 0)"
    )
    for statement in [FILL, *LEAD, *(["ANALYZE"] if request.param == "analysed" else [])]:
        connection.execute(statement)
    yield connection
    connection.close()


def test_no_statement_scans_the_items_and_frequent_ones_sort_nothing(connection: sqlite3.Connection) -> None:
    assert find_problems(connection) == []


def test_every_index_is_needed(connection: sqlite3.Connection) -> None:
    """Dropping any one of them is detected."""
    indexes = [row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'index' AND sql > ''")]
    assert len(indexes) > 20
    for index in set(indexes) - {"import_roots_by_folder"}:
        connection.execute("BEGIN")
        connection.execute(f"DROP INDEX {index}")
        assert find_problems(connection), f"no statement needs {index}"
        connection.execute("ROLLBACK")


def test_every_statement_is_used_and_every_one_that_is_used_exists() -> None:
    folder = Path(splootd.store.__path__[0])
    code = "\n".join(path.read_text() for path in folder.glob("*.py"))
    assert {name for name in SQL if f'"{name}"' not in code} == set()
    assert set(re.findall(r'SQL\["(\w+)"\]', code)) <= set(SQL)


def test_a_statement_without_a_meaning_is_refused() -> None:
    with pytest.raises(ValueError, match="lacks its comment"):
        load("-- name: a\nSELECT 1;\n")
    with pytest.raises(ValueError, match="two statements are called a"):
        load("-- name: a\n-- One.\nSELECT 1;\n-- name: a\n-- Two.\nSELECT 2;\n")
