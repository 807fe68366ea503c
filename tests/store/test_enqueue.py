"""Enqueueing: the result for one found file, in every state of a known item."""

from typing import Any

import pytest
from store_fixtures import Store, source, version

from splootd.core.error_code import ErrorCode
from splootd.core.item import FoundFile, Item, Priority, State, Version, shard_for
from splootd.store.accounts import open_account
from splootd.store.enqueue import ENQUEUE_BATCH_MAX
from splootd.store.rows import to_signed, to_unsigned
from splootd.store.upsert import UpsertResult


async def test_a_new_file_is_queued_with_the_options_of_its_source(store: Store) -> None:
    folder = await store.folder_store.watch(b"/m", device=1, inode=2, priority=Priority.NORMAL, tags=[], now=0.0)
    as_ = source(Priority.BACKGROUND, folder_id=folder.id, import_id=3, tags=("a", "b"), force=True)
    result = await store.put(b"/m/a.png", version(1, size=5), as_, now=7.0, settles_at=9.0)
    assert (result.path, result.outcome, result.state) == (b"/m/a.png", UpsertResult.QUEUED, State.PENDING)
    assert await store.item(result.item_id) == Item(
        id=result.item_id,
        path=b"/m/a.png",
        version=version(1, size=5),
        state=State.PENDING,
        priority=Priority.BACKGROUND,
        shard=shard_for(b"/m/a.png"),
        added_at=7.0,
        updated_at=7.0,
        next_at=9.0,
        attempts=0,
        sha256=None,
        asset_id=None,
        duplicate=False,
        error_code=None,
        error_message=None,
        folder_id=folder.id,
        tags=("a", "b"),
        force=True,
    )


@pytest.mark.parametrize("state", [state for state in State if state is not State.MISSING])
async def test_the_same_version_at_the_same_path_is_known(store: Store, state: State) -> None:
    item_id = await store.new_in(state, 1)
    before = await store.item(item_id)
    (result,) = await store.enqueue(b"/memes/1.png", now=50.0)
    assert (result.outcome, result.item_id, result.state) == (UpsertResult.KNOWN, item_id, state)
    assert await store.item(item_id) == before


@pytest.mark.parametrize("state", [state for state in State if state is not State.MISSING])
async def test_a_file_on_a_disk_with_a_new_device_number_is_known(store: Store, state: State) -> None:
    """A device number can change at a boot or when a disk is mounted again. That alone reads no file."""
    item_id = await store.new_in(state, 1)
    before = await store.item(item_id)
    after = before.version._replace(device=8)
    result = await store.put(b"/memes/1.png", after, now=50.0)
    assert (result.outcome, result.item_id, result.state) == (UpsertResult.KNOWN, item_id, state)
    assert await store.item(item_id) == before._replace(version=after)


async def test_a_rename_is_detected_after_the_new_device_number_was_seen(store: Store) -> None:
    item_id = await store.new_in(State.READY, 1)
    renumbered = (await store.item(item_id)).version._replace(device=8)
    await store.put(b"/memes/1.png", renumbered)
    del store.disk[b"/memes/1.png"]
    result = await store.put(b"/memes/other.png", renumbered)
    assert (result.outcome, result.item_id) == (UpsertResult.RENAMED, item_id)


async def test_a_missing_file_that_exists_again_is_requeued(store: Store) -> None:
    item_id = await store.new_in(State.MISSING, 1)
    (result,) = await store.enqueue(b"/memes/1.png", as_=source(Priority.BACKGROUND), now=50.0, settles_at=52.0)
    assert (result.outcome, result.item_id, result.state) == (UpsertResult.REQUEUED, item_id, State.PENDING)
    item = await store.item(item_id)
    assert (item.priority, item.attempts, item.error_code, item.next_at) == (Priority.BACKGROUND, 0, None, 52.0)


async def test_a_cancelled_item_stays_cancelled(store: Store) -> None:
    item_id = await store.new_in(State.PENDING, 1)
    await store.queue.forget([item_id], now=1.0)
    for force in (False, True):
        (result,) = await store.enqueue(b"/memes/1.png", as_=source(force=force), now=50.0)
        assert (result.outcome, result.state) == (UpsertResult.KNOWN, State.SKIPPED)


async def test_a_new_version_of_a_pending_item_keeps_its_place_in_the_queue(store: Store) -> None:
    item_id = (await store.put(b"/a", version(1), now=1.0)).item_id
    leased = await store.claim(item_id)
    await store.queue.retry(leased, error_code=ErrorCode.SERVER_ERROR, error_message="500", next_at=9.0, now=1.0)
    result = await store.put(b"/a", version(2, inode=1), now=5.0, settles_at=7.0)
    assert (result.outcome, result.item_id) == (UpsertResult.CHANGED, item_id)
    item = await store.item(item_id)
    assert (item.version, item.added_at, item.next_at, item.attempts) == (version(2, inode=1), 1.0, 7.0, 0)


async def test_a_new_version_of_an_uploading_item_is_left_to_its_worker(store: Store) -> None:
    item_id = await store.new_in(State.UPLOADING, 1)
    result = await store.put(b"/memes/1.png", version(2))
    assert (result.outcome, result.item_id, result.state) == (UpsertResult.KNOWN, item_id, State.UPLOADING)
    assert (await store.item(item_id)).version == version(1)


@pytest.mark.parametrize("state", [state for state in State if state not in (State.PENDING, State.UPLOADING)])
async def test_a_new_version_in_any_other_state_is_a_new_item(store: Store, state: State) -> None:
    """A failed item of a version that no longer exists leaves the dead-letter queue."""
    old = await store.new_in(state, 1)
    result = await store.put(b"/memes/1.png", version(2), now=5.0)
    assert (result.outcome, result.state) == (UpsertResult.CHANGED, State.PENDING)
    assert result.item_id != old
    assert [item.id for item in await store.read_queries.items_by_path(b"/memes/1.png")] == [result.item_id, old]
    assert (await store.item(old)).state is (State.SKIPPED if state is State.FAILED else state)
    assert await store.queue.requeue(ids=[old], now=6.0) == []
    (again,) = await store.enqueue(b"/memes/1.png")
    assert (again.outcome, again.item_id) == (UpsertResult.KNOWN, result.item_id)
    await store.assert_sums_are_right()


@pytest.mark.parametrize("state", State)
async def test_a_rename_changes_only_the_path(store: Store, state: State) -> None:
    item_id = await store.new_in(state, 1)
    before = await store.item(item_id)
    del store.disk[b"/memes/1.png"]
    result = await store.put(b"/elsewhere/new name.png", version(1), now=50.0)
    assert (result.outcome, result.item_id) == (UpsertResult.RENAMED, item_id)
    after = await store.item(item_id)
    if state is State.MISSING:  # the file exists again
        assert (after.path, after.state, after.shard) == (b"/elsewhere/new name.png", State.PENDING, before.shard)
    else:
        assert after == before._replace(path=b"/elsewhere/new name.png", updated_at=50.0)
    assert await store.read_queries.items_by_path(b"/memes/1.png") == []


async def test_a_hard_link_is_a_new_item(store: Store) -> None:
    first = await store.put(b"/a", version(1))
    second = await store.put(b"/b", version(1))
    assert (second.outcome, second.item_id != first.item_id) == (UpsertResult.QUEUED, True)
    del store.disk[b"/a"]
    third = await store.put(b"/c", version(1))  # a rename of the path that no longer exists
    assert (third.outcome, third.item_id) == (UpsertResult.RENAMED, first.item_id)


@pytest.mark.parametrize("state", State)
async def test_a_file_renamed_over_another_takes_its_path(store: Store, state: State) -> None:
    over = await store.new_in(state, 1)
    moved = (await store.put(b"/moved", version(2))).item_id
    del store.disk[b"/moved"]
    result = await store.put(b"/memes/1.png", version(2))
    assert (result.outcome, result.item_id) == (UpsertResult.RENAMED, moved)
    ended = {State.PENDING: State.MISSING, State.FAILED: State.SKIPPED}
    assert (await store.item(over)).state is ended.get(state, state)
    assert [item.id for item in await store.read_queries.items_by_path(b"/memes/1.png")] == [moved, over]
    await store.assert_sums_are_right()


@pytest.mark.parametrize(
    "completion", ["retry", "snooze", "discard", "file_missing", "release_stale", "skip", "accept"]
)
async def test_an_item_superseded_during_its_upload_never_returns_to_the_queue(store: Store, completion: str) -> None:
    over = await store.claim((await store.put(b"/a", version(1))).item_id)
    await store.put(b"/b", version(2))
    del store.disk[b"/b"]
    await store.put(b"/a", version(2))
    values: dict[str, Any] = {"error_code": ErrorCode.INTERRUPTED, "error_message": "r", "now": 5.0}
    match completion:
        case "retry" | "snooze":
            assert await getattr(store.queue, completion)(over, next_at=9.0, **values)
        case "discard" | "skip":
            assert await getattr(store.queue, completion)(over, **values)
        case "file_missing":
            assert await store.queue.file_missing(over, error_message="r", now=5.0)
        case "release_stale":
            assert await store.queue_of("instance2").release_stale(now=5.0) == 1
        case "accept":
            assert await store.accept(over)
    ended = {"skip": State.SKIPPED, "accept": State.EMBEDDING}
    assert (await store.item(over.item.id)).state is ended.get(completion, State.MISSING)


async def test_a_file_renamed_during_its_upload_is_not_missing(store: Store) -> None:
    leased = await store.claim((await store.put(b"/a", version(1))).item_id)
    del store.disk[b"/a"]
    await store.put(b"/b", version(1))
    assert await store.queue.file_missing(leased, error_message="not there", now=5.0)
    item = await store.item(leased.item.id)
    assert (item.path, item.state, item.error_code) == (b"/b", State.PENDING, "interrupted")


async def test_a_removed_asset_is_uploaded_again_only_with_force(store: Store) -> None:
    ready, skipped = await store.new_in(State.READY, 1), await store.new_in(State.EMBEDDING, 2)
    await store.ledger.mark_removed(f"a{ready}", now=5.0)
    await store.queue.skip_removed(skipped, error_message="removed", now=5.0)
    paths = (b"/memes/1.png", b"/memes/2.png")
    assert [result.outcome for result in await store.enqueue(*paths)] == [UpsertResult.KNOWN] * 2
    forced = await store.enqueue(*paths, as_=source(force=True))
    assert [result.outcome for result in forced] == [UpsertResult.QUEUED] * 2
    assert {result.item_id for result in forced}.isdisjoint({ready, skipped})
    assert [(await store.item(result.item_id)).force for result in forced] == [True, True]


async def test_force_queues_a_ready_file_again(store: Store) -> None:
    """The uploader queries the server before it uploads the file."""
    ready = await store.new_in(State.READY, 1)
    (result,) = await store.enqueue(b"/memes/1.png", as_=source(force=True))
    assert (result.outcome, result.state) == (UpsertResult.QUEUED, State.PENDING)
    assert result.item_id != ready
    (again,) = await store.enqueue(b"/memes/1.png", as_=source(force=True))
    assert (again.outcome, again.item_id) == (UpsertResult.KNOWN, result.item_id)


async def test_force_does_not_requeue_a_failed_item(store: Store) -> None:
    failed = await store.new_in(State.FAILED, 1)
    (result,) = await store.enqueue(b"/memes/1.png", as_=source(force=True))
    assert (result.outcome, result.item_id) == (UpsertResult.KNOWN, failed)


async def test_a_batch_may_contain_a_file_twice_and_has_a_maximum(store: Store) -> None:
    store.disk[b"/a"] = version(1)
    assert [each.outcome for each in await store.enqueue(b"/a", b"/a")] == [UpsertResult.QUEUED, UpsertResult.KNOWN]
    files = [FoundFile(b"/a", version(1))] * (ENQUEUE_BATCH_MAX + 1)
    with pytest.raises(ValueError, match="1001 files"):
        await store.import_store.enqueue(files, source(), is_still_there=store.is_still_there, now=0.0)


@pytest.mark.parametrize("number", [0, 1, 2**63 - 1, 2**63, 2**64 - 1])
async def test_inodes_of_64_bits_are_kept(store: Store, number: int) -> None:
    assert to_unsigned(to_signed(number)) == number
    of = Version(size=1, mtime_ns=-5, device=number, inode=number)
    result = await store.put(b"/a", of)
    assert (await store.item(result.item_id)).version == of
    folder = await store.folder_store.watch(
        b"/m", device=number, inode=number, priority=Priority.NORMAL, tags=[], now=0.0
    )
    assert (folder.device, folder.inode) == (number, number)


@pytest.mark.parametrize("path", [b"/\xff\xfe.png", b"/new\nline", b"/'; DROP TABLE items; --", b"/" + b"x" * 4000])
async def test_a_path_is_stored_as_its_bytes(store: Store, path: bytes) -> None:
    result = await store.put(path, version(1))
    assert (await store.item(result.item_id)).path == path
    assert [item.id for item in await store.read_queries.items_by_path(path)] == [result.item_id]


async def test_each_server_has_its_own_items(store: Store) -> None:
    await store.new_in(State.READY, 1)
    other, _ = await open_account(store.database, "https://other.test")
    assert other != store.server_id
    assert await open_account(store.database, "https://other.test") == (other, None)
    elsewhere = type(store.import_store)(store.database, server_id=other, wake_signals=store.wake_signals)
    file = FoundFile(b"/memes/1.png", version(1))
    (result,) = await elsewhere.enqueue([file], source(), is_still_there=store.is_still_there, now=0.0)
    assert result.outcome is UpsertResult.QUEUED
    assert (await store.read_queries.counts()).total == 1
