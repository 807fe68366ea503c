"""The move journal: every move is recorded first, and the items follow their files."""

import pytest
from store_fixtures import Store, digest, version

from splootd.core.item import Item, Priority, State
from splootd.core.post_upload_action import PostUploadAction
from splootd.store.move_journal import Move, MoveJournal, MoveState
from splootd.store.upsert import Source, UpsertResult

MOVE = PostUploadAction(b"/target")
TRASH = PostUploadAction(None)


@pytest.fixture
def moves(store: Store) -> MoveJournal:
    return MoveJournal(store.database, server_id=store.server_id, wake_signals=store.wake_signals)


def source_with(after: PostUploadAction | None, *, import_id: int | None = None, force: bool = False) -> Source:
    return Source(import_id, None, Priority.NORMAL, (), force, after)


async def ready(store: Store, path: bytes, number: int, after: PostUploadAction | None = MOVE) -> Item:
    result = await store.put(path, version(number), source_with(after))
    assert await store.accept(await store.claim(result.item_id), embedded=True)
    return await store.item(result.item_id)


async def begun(moves: MoveJournal, item: Item, target: bytes = b"/target/x.png", *, is_trashed: bool = False) -> Move:
    info_path = b"/trash/info/x" if is_trashed else None
    move = await moves.begin(item, target=target, is_trashed=is_trashed, info_path=info_path, now=5.0)
    assert move is not None
    return move


async def pending(moves: MoveJournal) -> list[int]:
    return [action.item.id for action in await moves.pending_actions(after_id=0, limit=100)]


async def test_only_ready_items_have_a_pending_action(store: Store, moves: MoveJournal) -> None:
    for number, state in enumerate(State):
        item_id = await store.new_in(state, number)
        await store.run("UPDATE items SET after_upload = ? WHERE id = ?", (TRASH.serialized, item_id))
        assert await pending(moves) == ([item_id] if state is State.READY else [])
        await store.run("UPDATE items SET after_upload = NULL")


async def test_a_new_version_does_not_inherit_the_action(store: Store, moves: MoveJournal) -> None:
    await ready(store, b"/a.png", 1)
    changed = await store.put(b"/a.png", version(2), source_with(None))
    assert changed.outcome is UpsertResult.CHANGED
    assert await pending(moves) == []


async def test_a_known_file_takes_the_action_of_an_import_and_not_of_a_scan(store: Store, moves: MoveJournal) -> None:
    item = await ready(store, b"/a.png", 1, None)
    await store.enqueue(b"/a.png", as_=source_with(TRASH))  # as a full scan enqueues it
    assert await pending(moves) == []
    import_id, _ = await store.import_store.start_import(
        "k", priority=Priority.NORMAL, tags=(), force=False, after_upload=TRASH, paths=[], now=1.0
    )
    await store.enqueue(b"/a.png", as_=await store.import_store.get_source(import_id, None))
    assert await pending(moves) == [item.id]


async def test_a_cancelled_action_starts_no_move(store: Store, moves: MoveJournal) -> None:
    item = await ready(store, b"/a.png", 1)
    await moves.cancel_action(item.id, error_message="it changed", now=4.0)
    assert await moves.begin(item, target=b"/target/a.png", is_trashed=False, info_path=None, now=5.0) is None
    assert [attempt.error_message for attempt in await store.read_queries.attempts(item.id)] == ["it changed"]


async def test_the_item_follows_its_file_to_a_folder_and_back_but_not_into_the_trash(
    store: Store, moves: MoveJournal
) -> None:
    item = await ready(store, b"/a.png", 1)
    await moves.finish(await begun(moves, item), MoveState.MOVED, now=6.0)
    assert (await store.item(item.id)).path == b"/target/x.png"
    moved = await moves.get_by_item(item.id)
    assert moved is not None
    back = await moves.begin_restore(moved, source=b"/a (2).png", now=7.0)
    assert back is not None
    await moves.finish(back, MoveState.RESTORED, now=8.0)
    assert (await store.item(item.id)).path == b"/a (2).png"
    assert await moves.get_by_item(item.id) is None
    assert await moves.get_last() is None
    assert await pending(moves) == []  # a restored file has no action

    other = await ready(store, b"/b.png", 2, TRASH)
    await moves.finish(await begun(moves, other, b"/trash/b.png", is_trashed=True), MoveState.MOVED, now=6.0)
    assert (await store.item(other.id)).path == b"/b.png"
    await store.assert_sums_are_right()


async def test_a_moved_file_supersedes_the_item_at_its_target(store: Store, moves: MoveJournal) -> None:
    item, old = await ready(store, b"/a.png", 1), await ready(store, b"/target/x.png", 2, None)
    await moves.finish(await begun(moves, item), MoveState.MOVED, now=6.0)
    assert [each.id for each in await store.read_queries.items_by_path(b"/target/x.png")] == [item.id, old.id]


async def test_an_action_stays_pending_after_a_failed_move(store: Store, moves: MoveJournal) -> None:
    item = await ready(store, b"/a.png", 1)
    move = await begun(moves, item)
    assert await moves.in_progress() == [move]
    await moves.finish(move, MoveState.RESTORED, now=6.0)
    assert await moves.in_progress() == []
    assert await pending(moves) == [item.id]
    await moves.finish(move, MoveState.MOVED, now=7.0)  # the move has ended already
    assert (await store.item(item.id)).path == b"/a.png"


async def test_moves_are_restored_in_reverse_order(store: Store, moves: MoveJournal) -> None:
    for number in (1, 2, 3):
        item = await ready(store, b"/%d.png" % number, number)
        await moves.finish(await begun(moves, item, b"/target/%d.png" % number), MoveState.MOVED, now=6.0)
    order = []
    while move := await moves.get_last():
        order.append(move.source)
        back = await moves.begin_restore(move, source=move.source, now=7.0)
        assert back is not None
        assert await moves.begin_restore(move, source=move.source, now=7.0) is None
        await moves.finish(back, MoveState.RESTORED, now=8.0)
    assert order == [b"/3.png", b"/2.png", b"/1.png"]


async def test_pending_actions_are_paged(store: Store, moves: MoveJournal) -> None:
    items = [(await ready(store, b"/%d.png" % number, number)).id for number in range(5)]
    first = await moves.pending_actions(after_id=0, limit=3)
    rest = await moves.pending_actions(after_id=first[-1].item.id, limit=3)
    assert [action.item.id for action in first + rest] == items


async def test_the_ledger_records_when_the_server_last_reported_a_content(store: Store) -> None:
    await ready(store, b"/a.png", 1)
    content = await store.ledger.get(digest(1))
    assert content is not None
    assert (content.last_seen_at, content.removed_at) == (0.0, None)
    await store.ledger.mark_removed(digest(1), now=5.0)
    await store.ledger.mark_seen(digest(1), now=9.0)
    content = await store.ledger.get(digest(1))
    assert content is not None
    assert (content.last_seen_at, content.removed_at) == (9.0, None)
