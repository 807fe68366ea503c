"""The schema says the laws a second time, in its own language; here both must agree."""

import contextlib
import itertools
import re
import sqlite3

import pytest
from storekit import Store, version

from splootd.core.item import SHARDS, Priority, State
from splootd.core.lifecycle import NEXT

# What a row must carry to be in a state.
SHAPE = {
    State.PENDING: "lease = NULL, next_at = NULL",
    State.UPLOADING: "lease = 'boot1:x', next_at = NULL",
    State.EMBEDDING: "lease = NULL, next_at = 1.0, accepted_at = 1.0, asset_id = 'a', sha256 = zeroblob(32)",
    State.READY: "lease = NULL, next_at = NULL, accepted_at = 1.0, asset_id = 'a', sha256 = zeroblob(32)",
    State.DEAD: "lease = NULL, next_at = NULL, fault = 'refused', reason = 'r'",
    State.GONE: "lease = NULL, next_at = NULL, fault = 'vanished', reason = 'r'",
    State.SKIPPED: "lease = NULL, next_at = NULL, fault = 'unsupported', reason = 'r'",
}


async def test_the_trigger_and_the_table_of_steps_agree_on_all_pairs_of_states(store: Store) -> None:
    for number, (old, new) in enumerate(itertools.product(State, State)):
        item_id = await store.new_in(old, number)
        allowed = new is old or new in NEXT[old].values()
        refused = pytest.raises(sqlite3.IntegrityError, match="no step of an item's life")
        with contextlib.nullcontext() if allowed else refused:
            await store.run(f"UPDATE items SET state = '{new}', {SHAPE[new]} WHERE id = {item_id}")
        assert (await store.item(item_id)).state is (new if allowed else old), f"{old} to {new}"
        await store.queue.forget([item_id], now=0.0)  # out of the way of the next claim


async def test_an_item_can_only_begin_pending(store: Store) -> None:
    for state in set(State) - {State.PENDING}:
        columns = "server_id, path, size, mtime_ns, device, inode, priority, shard, added_at, updated_at, tags, force"
        with pytest.raises(sqlite3.IntegrityError, match="begins its life pending"):
            await store.run(
                f"INSERT INTO items ({columns}, state) VALUES (1, x'2f', 1, 1, 1, 1, 1, 1, 1, 1, '', 0, '{state}')"
            )


async def test_an_item_is_never_deleted(store: Store) -> None:
    item_id = await store.new_in(State.READY, 1)
    with pytest.raises(sqlite3.IntegrityError, match="never deleted"):
        await store.run("DELETE FROM items WHERE id = ?", (item_id,))


NONSENSE = {
    "a_state_is_one_of_seven_words": "state = 'paused'",
    "a_priority_is_one_of_three": f"priority = {len(Priority)}",
    "a_shard_is_one_of_sixteen": f"shard = {SHARDS}",
    "a_flag_is_no_or_yes": "duplicate = 2",
    "a_path_is_not_empty": "path = x''",
    "a_size_is_not_negative": "size = -1",
    "attempts_are_not_negative": "attempts = -1",
    "a_digest_has_32_bytes": "sha256 = x'00'",
    "only_uploads_are_leased": "lease = 'boot1:x'",
    "only_what_waits_has_a_time": "state = 'uploading', lease = 'boot1:x', next_at = 1.0",
    "what_is_embedding_is_asked_about": "state = 'embedding', asset_id = 'a', sha256 = zeroblob(32)",
    "what_is_stored_has_an_id": "state = 'ready'",
    "what_was_given_up_says_why": "state = 'gone'",
    "a_fault_has_a_reason": "fault = 'refused'",
    "only_the_latest_waits_for_somebody": "latest = 0",
}


@pytest.mark.parametrize("law", NONSENSE)
async def test_a_row_that_makes_no_sense_is_refused(store: Store, law: str) -> None:
    item_id = await store.new_in(State.PENDING, 1)
    await store.run("DROP TRIGGER items_follow_the_lifecycle")  # it would refuse some of them first
    with pytest.raises(sqlite3.IntegrityError, match=law):
        await store.run(f"UPDATE items SET {NONSENSE[law]} WHERE id = {item_id}")


async def test_every_named_constraint_of_the_items_is_tried(store: Store) -> None:
    ((sql,),) = await store.rows("SELECT sql FROM sqlite_schema WHERE name = 'items'")
    named = {line.split()[1] for line in sql.splitlines() if line.strip().startswith("CONSTRAINT")}
    assert named == set(NONSENSE)


async def test_one_path_has_one_latest_item(store: Store) -> None:
    await store.put(b"/a", version(1))
    other = await store.put(b"/b", version(2))
    with pytest.raises(sqlite3.IntegrityError, match="UNIQUE"):
        await store.run("UPDATE items SET path = x'2f61' WHERE id = ?", (other.item_id,))


async def test_no_trigger_makes_a_table_of_words_for_each_row(store: Store) -> None:
    """As SQLite does of a list of more than two. It made a claim a third dearer."""
    triggers = await store.rows("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'")
    assert len(triggers) > 10
    assert [name for name, sql in triggers if re.search(r"IN \([^()]+,[^()]+,", sql)] == []
