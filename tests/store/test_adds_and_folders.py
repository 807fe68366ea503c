"""What is remembered of what was asked for: adds, their roots, answers, and watched folders."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from storekit import Store, opened, origin, version

from splootd.core.item import Priority, State
from splootd.errors import RequestError
from splootd.store.arrivals import Candidate, Outcome


async def test_an_add_sent_twice_is_one_add(store: Store) -> None:
    options: dict[str, Any] = {"priority": Priority.URGENT, "tags": ("t",), "force": True, "now": 1.0}
    first, _ = await store.arrivals.start_add("key", paths=[b"/a", b"/b"], **options)
    assert await store.arrivals.start_add("key", paths=[b"/a", b"/b"], **options) == (first, [])
    assert [(root.add_id, root.path) for root in await store.arrivals.roots_left()] == [(first, b"/a"), (first, b"/b")]
    assert await store.arrivals.start_add("another", paths=[b"/a"], **options) != (first, [])
    assert await store.arrivals.origin(first, 5) == origin(
        Priority.URGENT, add_id=first, folder_id=5, tags=("t",), force=True
    )


async def test_the_files_of_an_add_are_queued_with_it_under_its_options(store: Store) -> None:
    options: dict[str, Any] = {"priority": Priority.URGENT, "tags": ("t",), "force": False, "now": 1.0}
    files = [Candidate(b"/a.png", version(1), None), Candidate(b"/b.png", version(2), None)]
    first, arrived = await store.arrivals.start_add("key", paths=[], files=files, **options)
    assert [arrival.outcome for arrival in arrived] == [Outcome.QUEUED, Outcome.QUEUED]
    items = await store.listing.items(limit=2)
    assert {(item.priority, item.tags) for item in items} == {(Priority.URGENT, ("t",))}
    assert (await store.listing.progress(first)).total == 2
    again, arrived = await store.arrivals.start_add("key", paths=[], files=files, **options)
    assert (again, [arrival.outcome for arrival in arrived]) == (first, [Outcome.KNOWN, Outcome.KNOWN])


async def test_an_add_may_go_on_in_further_calls(store: Store) -> None:
    options: dict[str, Any] = {"tags": (), "force": False, "now": 1.0}
    first, _ = await store.arrivals.start_add("one", paths=[b"/a"], priority=Priority.URGENT, **options)
    more, _ = await store.arrivals.start_add("two", add_id=first, paths=[b"/b"], priority=Priority.NORMAL, **options)
    assert more == first
    assert [root.path for root in await store.arrivals.roots_left()] == [b"/a", b"/b"]
    assert (await store.arrivals.origin(first, None)).priority is Priority.URGENT
    with pytest.raises(RequestError, match="There is no add 99"):
        await store.arrivals.start_add("three", add_id=99, paths=[], priority=Priority.NORMAL, **options)
    with pytest.raises(RequestError, match="There is no add 99"):
        await store.arrivals.origin(99, None)


async def test_a_walk_that_was_not_finished_is_left_after_a_restart(tmp_path: Path) -> None:
    async with opened(tmp_path / "queue.db") as store:
        options: dict[str, Any] = {"priority": Priority.NORMAL, "tags": (), "force": False, "now": 1.0}
        folder = await store.arrivals.watch(b"/b", device=1, inode=1, priority=Priority.NORMAL, tags=(), now=0.0)
        await store.arrivals.start_add("key", paths=[b"/a", b"/b"], **options)
        await store.arrivals.root_done((await store.arrivals.roots_left())[0].id, now=2.0)
    async with opened(tmp_path / "queue.db") as store:
        assert [(root.path, root.folder_id) for root in await store.arrivals.roots_left()] == [(b"/b", folder.id)]


async def test_the_answer_to_a_command_is_remembered_as_it_was_first_given(store: Store) -> None:
    assert await store.arrivals.reply("key") is None
    await store.arrivals.remember("key", "first", now=1.0)
    await store.arrivals.remember("key", "second", now=2.0)
    assert await store.arrivals.reply("key") == "first"


async def test_watching_again_changes_how_and_keeps_what_is_known(store: Store) -> None:
    before = await store.arrivals.watch(b"/m", device=1, inode=2, priority=Priority.NORMAL, tags=["a"], now=1.0)
    await store.put(b"/m/a", version(1), origin(folder_id=before.id), now=3.0)
    await store.arrivals.looked(before.id, now=4.0)
    after = await store.arrivals.watch(b"/m", device=1, inode=9, priority=Priority.URGENT, tags=[], now=5.0)
    changed = {"inode": 9, "priority": Priority.URGENT, "tags": (), "scanned_at": 4.0, "last_new_at": 3.0, "items": 1}
    assert after == dataclasses.replace(before, **changed)
    assert await store.arrivals.folders() == [after]


async def test_removing_a_folder_keeps_its_items(store: Store) -> None:
    folder = await store.arrivals.watch(b"/m", device=1, inode=2, priority=Priority.NORMAL, tags=[], now=1.0)
    arrival = await store.put(b"/m/a", version(1), origin(folder_id=folder.id))
    await store.run(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2300) INSERT INTO items (server_id,"
        " path, size, mtime_ns, device, inode, priority, shard, added_at, updated_at, folder_id, tags, force)"
        " SELECT 1, CAST(i AS BLOB), 1, 1, 1, i, 1, 3, 0, 0, 1, '[]', 0 FROM n"
    )
    assert await store.arrivals.unwatch(b"/m") is True
    assert await store.arrivals.unwatch(b"/m") is False
    assert await store.arrivals.folders() == []
    assert ((await store.item(arrival.item_id)).folder_id, (await store.listing.counts()).total) == (None, 2_301)
    again = await store.arrivals.watch(b"/m", device=1, inode=2, priority=Priority.NORMAL, tags=[], now=9.0)
    assert again.id != folder.id
    (known,) = await store.offer(b"/m/a", as_=origin(folder_id=again.id))
    assert known.outcome is Outcome.KNOWN
    assert (await store.item(known.item_id)).folder_id == again.id  # found there again
    await store.assert_sums_are_right()


async def test_what_is_named_again_while_it_is_on_its_way_belongs_to_the_later_call(store: Store) -> None:
    """So that `add --wait` waits for it; and it comes no later than that call asks."""
    pending = (await store.put(b"/a", version(1), origin(Priority.BACKGROUND, add_id=1))).item_id
    ready = await store.new_in(State.READY, 2)
    await store.offer(b"/a", b"/memes/2.png", as_=origin(Priority.URGENT, add_id=2))
    assert (await store.item(pending)).priority is Priority.URGENT
    assert ((await store.listing.progress(1)).total, (await store.listing.progress(2)).total) == (0, 1)
    assert (await store.item(ready)).priority is Priority.URGENT  # as it was claimed, before
    await store.assert_sums_are_right()
