"""The rules of core/lifecycle.py are repeated in the schema as constraints and triggers. Both must agree."""

import contextlib
import itertools
import re
import sqlite3

import pytest
from store_fixtures import Store, version

from splootd.core.item import SHARDS, Priority, State
from splootd.core.lifecycle import TRANSITIONS

# The columns that a state requires.
SHAPE = {
    State.PENDING: "lease = NULL, next_at = NULL",
    State.UPLOADING: "lease = 'instance1:x', next_at = NULL",
    State.EMBEDDING: "lease = NULL, next_at = 1.0, accepted_at = 1.0, asset_id = 'a', sha256 = zeroblob(32)",
    State.READY: "lease = NULL, next_at = NULL, accepted_at = 1.0, asset_id = 'a', sha256 = zeroblob(32)",
    State.FAILED: "lease = NULL, next_at = NULL, error_code = 'rejected', error_message = 'r'",
    State.MISSING: "lease = NULL, next_at = NULL, error_code = 'file_missing', error_message = 'r'",
    State.SKIPPED: "lease = NULL, next_at = NULL, error_code = 'unsupported', error_message = 'r'",
}


async def test_the_trigger_and_the_transition_table_agree_on_all_pairs_of_states(store: Store) -> None:
    for number, (old, new) in enumerate(itertools.product(State, State)):
        item_id = await store.new_in(old, number)
        allowed = new is old or new in TRANSITIONS[old].values()
        refused = pytest.raises(sqlite3.IntegrityError, match="invalid state transition")
        with contextlib.nullcontext() if allowed else refused:
            await store.run(f"UPDATE items SET state = '{new}', {SHAPE[new]} WHERE id = {item_id}")
        assert (await store.item(item_id)).state is (new if allowed else old), f"{old} to {new}"
        await store.queue.forget([item_id], now=0.0)  # so that the next claim does not find it


async def test_an_item_can_only_be_inserted_as_pending(store: Store) -> None:
    for state in set(State) - {State.PENDING}:
        columns = "server_id, path, size, mtime_ns, device, inode, priority, shard, added_at, updated_at, tags, force"
        with pytest.raises(sqlite3.IntegrityError, match="must be inserted as pending"):
            await store.run(
                f"INSERT INTO items ({columns}, state) VALUES (1, x'2f', 1, 1, 1, 1, 1, 1, 1, 1, '', 0, '{state}')"
            )


async def test_an_item_cannot_be_deleted(store: Store) -> None:
    item_id = await store.new_in(State.READY, 1)
    with pytest.raises(sqlite3.IntegrityError, match="items cannot be deleted"):
        await store.run("DELETE FROM items WHERE id = ?", (item_id,))


VIOLATIONS = {
    "items_state_valid": "state = 'paused'",
    "items_priority_valid": f"priority = {len(Priority)}",
    "items_shard_in_range": f"shard = {SHARDS}",
    "items_flags_boolean": "duplicate = 2",
    "items_path_not_empty": "path = x''",
    "items_size_not_negative": "size = -1",
    "items_attempts_not_negative": "attempts = -1",
    "items_sha256_length": "sha256 = x'00'",
    "items_leased_iff_uploading": "lease = 'instance1:x'",
    "items_next_at_only_if_waiting": "state = 'uploading', lease = 'instance1:x', next_at = 1.0",
    "items_embedding_has_next_poll": "state = 'embedding', asset_id = 'a', sha256 = zeroblob(32)",
    "items_stored_has_asset_id": "state = 'ready'",
    "items_ended_has_error_code": "state = 'missing'",
    "items_error_code_has_message": "error_code = 'rejected'",
    "items_superseded_not_pending_or_failed": "latest = 0",
}


@pytest.mark.parametrize("constraint", VIOLATIONS)
async def test_a_row_that_violates_a_constraint_is_refused(store: Store, constraint: str) -> None:
    item_id = await store.new_in(State.PENDING, 1)
    await store.run("DROP TRIGGER items_state_transition")  # it would refuse some of them first
    with pytest.raises(sqlite3.IntegrityError, match=constraint):
        await store.run(f"UPDATE items SET {VIOLATIONS[constraint]} WHERE id = {item_id}")


async def test_every_constraint_of_items_is_tested(store: Store) -> None:
    ((sql,),) = await store.rows("SELECT sql FROM sqlite_schema WHERE name = 'items'")
    named = {line.split()[1] for line in sql.splitlines() if line.strip().startswith("CONSTRAINT")}
    assert named == set(VIOLATIONS)


async def test_a_path_has_one_latest_item(store: Store) -> None:
    await store.put(b"/a", version(1))
    other = await store.put(b"/b", version(2))
    with pytest.raises(sqlite3.IntegrityError, match="UNIQUE"):
        await store.run("UPDATE items SET path = x'2f61' WHERE id = ?", (other.item_id,))


async def test_no_trigger_has_an_in_list_of_more_than_two_values(store: Store) -> None:
    """SQLite builds a temporary index for it in each row, which made a claim a third slower."""
    triggers = await store.rows("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'")
    assert len(triggers) > 10
    assert [name for name, sql in triggers if re.search(r"IN \([^()]+,[^()]+,", sql)] == []
