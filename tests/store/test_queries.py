"""No question walks over the table of items: every statement is explained, on a database of some size."""

import asyncio
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from storekit import opened

import splootd.store
from splootd.store import schema
from splootd.store.queries import SQL, load

# Which index answers which question. Where there are two, the statement asks two.
INDEXES = {
    "claimable": {"items_claimable"},
    "urgent": {"items_urgent"},
    "promote": {"items_delayed"},
    "next_due": {"items_delayed"},
    "recover": {"items_leased"},
    "give_back": {"items_leased"},
    "due_embeddings": {"items_embedding"},
    "next_embedding_due": {"items_to_ask"},
    "dead_after": {"items_by_state_and_priority"},
    "dead_of_fault_after": {"items_dead"},
    "latest_at_path": {"items_latest"},
    "former_at_path": {"items_former"},
    "is_known": {"items_latest", "items_by_inode"},
    "former_places": {"items_by_inode"},
    "unstage_former": {"items_by_inode"},
    "leave_folder": {"items_by_folder"},
    "items_by_state": {"items_by_state_and_priority"},
    "items_by_folder": {"items_by_folder"},
    "items_by_fault": {"items_by_fault"},
    "items_by_state_after": {"items_by_state_and_priority"},
    "items_by_folder_after": {"items_by_folder"},
    "items_by_fault_after": {"items_by_fault"},
    "progress": {"items_by_add"},
    "by_assets": {"items_by_asset"},
    "asset_removed": {"contents_by_asset"},
    "bound_delays": {"items_delayed"},
    "bound_embeddings": {"items_to_ask"},
    "wishes": {"items_wished"},
    "moves_under_way": {"moves_under_way"},
    "move_of_item": {"moves_by_item"},
    "last_move": {"moves_there"},
    "attempts": {"attempts_by_item"},
    "roots_left": {"roots_left"},
    "prune_replies": {"replies_by_time"},
    "prune_uploads": {"uploads_by_time"},
}
# Questions that are asked again and again: their answers come out of the index in order, nothing is sorted.
HOT = {
    "claimable", "urgent", "is_known", "promote", "next_due", "due_embeddings", "next_embedding_due", "items",
    "items_by_state", "items_by_folder", "items_by_fault", "items_after", "items_by_state_after",
    "items_by_folder_after", "items_by_fault_after", "dead_after", "dead_of_fault_after", "events", "progress",
    "wishes",
}  # fmt: skip
# Small tables. Of others than the items, a partial index may be walked too: it holds what is wanted and nothing else.
MAY_SCAN = {"json_each", "upheavals", "folders", "adds", "roots", "moves", "CONSTANT", "temp"}
# Indexes so small that all their rows of one server may be looked at.
MAY_WALK = {"items_urgent", "items_delayed", "items_embedding", "items_to_ask", "items_wished"}
# Indexes for whoever looks at the queue with a tool of their own.
PLAIN = {
    "SELECT id FROM items WHERE state = 'dead'": "items_by_state_and_priority",
    "SELECT id FROM items WHERE added_at > 1e9": "items_by_added_at",
    "SELECT id FROM items WHERE priority = 0": "items_by_priority",
    "SELECT id FROM items WHERE priority = 0 AND state = 'dead'": "items_by_state_and_priority",
}

FILL = """
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
INSERT INTO items (server_id, path, size, mtime_ns, device, inode, priority, shard, added_at, updated_at, folder_id,
  add_id, tags, force)
SELECT 1, CAST('/memes/' || i AS BLOB), i, i, 1, i, i % 3, i % 16, i, i, 1, i % 7, '[]', 0 FROM n
"""
LEAD = [
    "UPDATE items SET next_at = 5 WHERE id % 10 = 1",
    "UPDATE items SET state = 'uploading', lease = 'b:' || id WHERE id % 10 > 2",
    """UPDATE items SET state = 'embedding', lease = NULL, asset_id = id, sha256 = randomblob(32), accepted_at = id,
      next_at = id WHERE id % 10 > 3""",
    "UPDATE items SET state = 'ready', next_at = NULL WHERE id % 10 > 5",
    "UPDATE items SET state = 'dead', next_at = NULL, fault = 'f' || id % 5, reason = 'r' WHERE id % 50 = 5",
]


class Anything(dict[str, None]):
    """Values for a statement that is only explained."""

    def __missing__(self, key: str) -> None:
        return None


def plan(connection: sqlite3.Connection, sql: str) -> str:
    values = [None] * sql.count("?") or Anything()
    return "\n".join(row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", values))


def faults(connection: sqlite3.Connection) -> list[str]:
    """What is wrong with the plans of all statements."""
    partial = {row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE sql LIKE '%INDEX% WHERE %'")}
    found = []
    for name, sql in SQL.items():
        try:
            steps = plan(connection, sql)
        except sqlite3.OperationalError as error:  # an index that it is held to is not there
            found.append(f"{name}: {error}")
            continue
        for table, index in re.findall(r"SCAN (\w+)(?: USING (?:COVERING )?INDEX (\w+))?", steps):
            if table not in MAY_SCAN | {name} and (table == "items" or index not in partial):
                found.append(f"{name} walks over {table}")
        found += [
            f"{name} walks over {index}"
            for index in re.findall(r"USING (?:COVERING )?INDEX (\w+) \(server_id=\?\)", steps)
            if index.startswith("items") and index not in MAY_WALK
        ]
        if name in HOT and "TEMP B-TREE" in steps:
            found.append(f"{name} sorts")
        found += [f"{name} misses {index}" for index in INDEXES.get(name, ()) if index not in steps.split()]
    found += [f"{index} is of no use for {sql}" for sql, index in PLAIN.items() if index not in plan(connection, sql)]
    return found


@pytest.fixture(scope="module", params=["unanalysed", "analysed"])
def connection(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[sqlite3.Connection]:
    """A database with rows in most states. SQLite plans otherwise once it has looked at the rows, so both ways."""
    path: Path = tmp_path_factory.mktemp("plans") / "queue.db"

    async def make() -> None:
        async with opened(path):
            pass

    asyncio.run(make())
    connection = sqlite3.connect(path, isolation_level=None, cached_statements=0)  # or it explains what was before
    schema.prepare_staging(connection)
    connection.execute(
        "INSERT INTO folders (path, device, inode, priority, tags, added_at) VALUES (x'2f', 1, 1, 1, '[]', 0)"
    )
    for statement in [FILL, *LEAD, *(["ANALYZE"] if request.param == "analysed" else [])]:
        connection.execute(statement)
    yield connection
    connection.close()


def test_no_statement_walks_over_the_items_and_the_hot_ones_sort_nothing(connection: sqlite3.Connection) -> None:
    assert faults(connection) == []


def test_every_index_is_needed(connection: sqlite3.Connection) -> None:
    """Taking any one away is noticed."""
    indexes = [row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'index' AND sql > ''")]
    assert len(indexes) > 20
    for index in set(indexes) - {"roots_by_folder"}:
        connection.execute("BEGIN")
        connection.execute(f"DROP INDEX {index}")
        assert faults(connection), f"nobody misses {index}"
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
