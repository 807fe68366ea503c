"""Imports and their roots, stored responses, and watched folders."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from store_fixtures import Store, open_store, source, version

from splootd.core.error_code import ErrorCode
from splootd.core.item import FoundFile, Priority, State
from splootd.errors import RequestError
from splootd.store.accounts import open_account
from splootd.store.folders import FolderStore
from splootd.store.upsert import UpsertResult


async def test_a_repeated_import_command_makes_one_import(store: Store) -> None:
    options: dict[str, Any] = {"priority": Priority.URGENT, "tags": ("t",), "force": True, "now": 1.0}
    first, _ = await store.import_store.start_import("key", paths=[b"/a", b"/b"], **options)
    assert await store.import_store.start_import("key", paths=[b"/a", b"/b"], **options) == (first, [])
    assert [(root.import_id, root.path) for root in await store.import_store.unfinished_roots()] == [
        (first, b"/a"),
        (first, b"/b"),
    ]
    assert await store.import_store.start_import("another", paths=[b"/a"], **options) != (first, [])
    assert await store.import_store.get_source(first, 5) == source(
        Priority.URGENT, import_id=first, folder_id=5, tags=("t",), force=True
    )


async def test_the_files_of_an_import_are_queued_with_its_options(store: Store) -> None:
    options: dict[str, Any] = {"priority": Priority.URGENT, "tags": ("t",), "force": False, "now": 1.0}
    files = [FoundFile(b"/a.png", version(1)), FoundFile(b"/b.png", version(2))]
    first, results = await store.import_store.start_import("key", paths=[], files=files, **options)
    assert [result.outcome for result in results] == [UpsertResult.QUEUED, UpsertResult.QUEUED]
    items = await store.read_queries.items(limit=2)
    assert {(item.priority, item.tags) for item in items} == {(Priority.URGENT, ("t",))}
    assert (await store.read_queries.progress(first)).total == 2
    again, results = await store.import_store.start_import("key", paths=[], files=files, **options)
    assert (again, [result.outcome for result in results]) == (first, [UpsertResult.KNOWN, UpsertResult.KNOWN])


async def test_an_import_can_continue_in_further_calls(store: Store) -> None:
    options: dict[str, Any] = {"tags": (), "force": False, "now": 1.0}
    first, _ = await store.import_store.start_import("one", paths=[b"/a"], priority=Priority.URGENT, **options)
    more, _ = await store.import_store.start_import(
        "two", import_id=first, paths=[b"/b"], priority=Priority.NORMAL, **options
    )
    assert more == first
    assert [root.path for root in await store.import_store.unfinished_roots()] == [b"/a", b"/b"]
    assert (await store.import_store.get_source(first, None)).priority is Priority.URGENT
    with pytest.raises(RequestError, match="Import 99 does not exist"):
        await store.import_store.start_import("three", import_id=99, paths=[], priority=Priority.NORMAL, **options)
    with pytest.raises(RequestError, match="Import 99 does not exist"):
        await store.import_store.get_source(99, None)


async def test_an_unfinished_root_remains_after_a_restart(tmp_path: Path) -> None:
    async with open_store(tmp_path / "queue.db") as store:
        options: dict[str, Any] = {"priority": Priority.NORMAL, "tags": (), "force": False, "now": 1.0}
        folder = await store.folder_store.watch(b"/b", device=1, inode=1, priority=Priority.NORMAL, tags=(), now=0.0)
        await store.import_store.start_import("key", paths=[b"/a", b"/b"], **options)
        await store.import_store.finish_root((await store.import_store.unfinished_roots())[0].id, now=2.0)
    async with open_store(tmp_path / "queue.db") as store:
        assert [(root.path, root.folder_id) for root in await store.import_store.unfinished_roots()] == [
            (b"/b", folder.id)
        ]


async def test_the_first_response_to_a_command_stays(store: Store) -> None:
    assert await store.idempotency_store.get_response("key") is None
    await store.idempotency_store.store_response("key", "first", now=1.0)
    await store.idempotency_store.store_response("key", "second", now=2.0)
    assert await store.idempotency_store.get_response("key") == "first"


async def test_a_folder_counts_the_items_of_the_present_server(tmp_path: Path) -> None:
    async with open_store(tmp_path / "queue.db") as store:
        folder = await store.folder_store.watch(b"/m", device=1, inode=2, priority=Priority.NORMAL, tags=[], now=0.0)
        await store.put(b"/m/a", version(1), source(folder_id=folder.id), now=1.0)
        other_id, _ = await open_account(store.database, "https://other.example")
        other = FolderStore(store.database, server_id=other_id)
        assert [each.items for each in await store.folder_store.folders()] == [1]
        assert [each.items for each in await other.folders()] == [0]
        again = await other.watch(b"/m", device=1, inode=2, priority=Priority.NORMAL, tags=[], now=0.0)
        assert (again.id, again.items) == (folder.id, 0)
        await store.folder_store.unwatch(b"/m")
        assert await store.rows("SELECT * FROM folder_counts") == []


async def test_watching_again_changes_the_options_and_keeps_the_rest(store: Store) -> None:
    before = await store.folder_store.watch(b"/m", device=1, inode=2, priority=Priority.NORMAL, tags=["a"], now=1.0)
    await store.put(b"/m/a", version(1), source(folder_id=before.id), now=3.0)
    await store.folder_store.mark_scanned(before.id, now=4.0)
    after = await store.folder_store.watch(b"/m", device=1, inode=9, priority=Priority.URGENT, tags=[], now=5.0)
    changed = {"inode": 9, "priority": Priority.URGENT, "tags": (), "scanned_at": 4.0, "last_new_at": 3.0, "items": 1}
    assert after == dataclasses.replace(before, **changed)
    assert await store.folder_store.folders() == [after]


async def test_removing_a_folder_keeps_its_items(store: Store) -> None:
    folder = await store.folder_store.watch(b"/m", device=1, inode=2, priority=Priority.NORMAL, tags=[], now=1.0)
    result = await store.put(b"/m/a", version(1), source(folder_id=folder.id))
    await store.run(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2300) INSERT INTO items (server_id,"
        " path, size, mtime_ns, device, inode, priority, shard, added_at, updated_at, folder_id, tags, force)"
        " SELECT 1, CAST(i AS BLOB), 1, 1, 1, i, 1, 3, 0, 0, 1, '[]', 0 FROM n"
    )
    assert await store.folder_store.unwatch(b"/m") is True
    assert await store.folder_store.unwatch(b"/m") is False
    assert await store.folder_store.folders() == []
    assert ((await store.item(result.item_id)).folder_id, (await store.read_queries.counts()).total) == (None, 2_301)
    again = await store.folder_store.watch(b"/m", device=1, inode=2, priority=Priority.NORMAL, tags=[], now=9.0)
    assert again.id != folder.id
    (known,) = await store.enqueue(b"/m/a", as_=source(folder_id=again.id))
    assert known.outcome is UpsertResult.KNOWN
    assert (await store.item(known.item_id)).folder_id == again.id  # found in the new folder
    await store.assert_sums_are_right()


async def new_import(store: Store, key: str) -> int:
    options = {"priority": Priority.NORMAL, "tags": (), "force": False, "now": 1.0}
    import_id, _ = await store.import_store.start_import(key, paths=[], **options)
    return import_id


async def test_an_unfinished_item_belongs_to_every_import_that_names_it(store: Store) -> None:
    """Each `add --wait` then waits for it, and its priority is at least that of the new import."""
    first, second = await new_import(store, "first"), await new_import(store, "second")
    pending = (await store.put(b"/a", version(1), source(Priority.BACKGROUND, import_id=first))).item_id
    ready = await store.new_in(State.READY, 2)
    again = source(Priority.URGENT, import_id=second)
    await store.enqueue(b"/a", b"/memes/2.png", as_=again)
    await store.enqueue(b"/a", as_=again)
    assert (await store.item(pending)).priority is Priority.URGENT
    for import_id in (first, second):
        progress = await store.read_queries.progress(import_id)
        assert (progress.total, progress.by_state[State.PENDING], progress.bytes_total) == (1, 1, 100)
    assert (await store.item(ready)).priority is Priority.URGENT  # since `new_in` has claimed it
    await store.assert_sums_are_right()


async def test_an_import_counts_a_file_that_the_watcher_queued_before(store: Store) -> None:
    watched = await store.put(b"/a", version(1), source())
    import_id = await new_import(store, "later")
    leased = await store.claim(watched.item_id)
    await store.enqueue(b"/a", as_=source(import_id=import_id))
    await store.queue.retry(leased, error_code=ErrorCode.UNREACHABLE, error_message="r", next_at=20.0, now=1.0)
    assert (await store.read_queries.progress(import_id)).due_at == 20.0
    await store.put(b"/b", version(2), source(import_id=import_id))
    assert (await store.read_queries.progress(import_id)).due_at is None
    await store.queue.bump([watched.item_id], now=1.0)
    await store.accept(await store.claim(watched.item_id))
    progress = await store.read_queries.progress(import_id)
    assert (progress.total, progress.by_state[State.EMBEDDING]) == (2, 1)


async def test_a_changed_file_stays_in_the_import_that_queued_it(store: Store) -> None:
    first, second = await new_import(store, "first"), await new_import(store, "second")
    await store.put(b"/a", version(1), source(import_id=first))
    changed = await store.put(b"/a", version(2), source(import_id=second))
    assert changed.outcome is UpsertResult.CHANGED
    assert [(await store.read_queries.progress(each)).total for each in (first, second)] == [1, 1]
    await store.assert_sums_are_right()
