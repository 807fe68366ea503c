"""Read queries: counts, pages, progress, events, settings, ledger and pruning."""

import itertools
import os

import pytest
from store_fixtures import Store, digest, source, version

from splootd.core.error_code import ErrorCode
from splootd.core.item import Priority, State
from splootd.store import maintenance, read_queries
from splootd.store.maintenance import prune
from splootd.store.read_queries import ImportProgress, ItemFilter


async def test_the_counts_add_up(store: Store) -> None:
    for number, state in enumerate(State):
        for more in range(number + 1):
            await store.new_in(state, 100 * number + more)
    counts = await store.read_queries.counts()
    assert counts.by_state == {state: number + 1 for number, state in enumerate(State)}
    assert counts.bytes_by_state == {state: 100 * (number + 1) for number, state in enumerate(State)}
    assert counts.total == 28
    await store.assert_sums_are_right()


async def test_duplicates_and_delayed_items_have_their_own_counts(store: Store) -> None:
    leased = await store.claim((await store.put(b"/a", version(1))).item_id)
    await store.queue.accept(leased, asset_id="a", sha256=digest(1), duplicate=True, embedded=True, now=1.0)
    await store.put(b"/b", version(2), source(Priority.BACKGROUND), settles_at=5.0)
    await store.put(b"/c", version(3))
    counts = await store.read_queries.counts()
    assert (counts.duplicates, counts.delayed) == (1, 1)
    assert counts.pending_by_priority == {Priority.URGENT: 0, Priority.NORMAL: 1, Priority.BACKGROUND: 1}
    await store.queue.make_due(now=5.0)
    assert (await store.read_queries.counts()).delayed == 0


async def test_pages_follow_each_other_without_gap_or_repetition(store: Store) -> None:
    folder = await store.folder_store.watch(b"/m", device=1, inode=1, priority=Priority.NORMAL, tags=[], now=0.0)
    ids = [(await store.put(b"/%d" % n, version(n), source(folder_id=folder.id))).item_id for n in range(7)]
    for filters in (
        {},
        {"state": State.PENDING},
        {"folder_id": folder.id},
        {"folder_id": folder.id, "state": State.PENDING},
    ):
        seen: list[int] = []
        while page := await store.read_queries.items(before=seen[-1] if seen else None, limit=3, **filters):
            seen += [item.id for item in page]
        assert seen == ids[::-1]


async def test_a_list_matches_its_filter(store: Store) -> None:
    folder = await store.folder_store.watch(b"/m", device=1, inode=1, priority=Priority.NORMAL, tags=[], now=0.0)
    ids = {state: await store.new_in(state, number) for number, state in enumerate(State)}
    inside = (await store.put(b"/m/a", version(99), source(folder_id=folder.id))).item_id
    await store.queue.discard(await store.claim(inside), error_code=ErrorCode.REJECTED, error_message="r", now=1.0)

    async def listed(**filters: object) -> set[int]:
        return {item.id for item in await store.read_queries.items(limit=100, **filters)}

    assert await listed() == {*ids.values(), inside}
    assert await listed(state=State.FAILED) == {ids[State.FAILED], inside}
    assert await listed(folder_id=folder.id) == {inside}
    assert await listed(folder_id=folder.id, state=State.READY) == set()
    assert await listed(error_code="rejected") == {ids[State.FAILED], inside}
    assert await listed(error_code="rejected", folder_id=folder.id) == {inside}
    assert await listed(error_code="rejected", state=State.READY) == set()
    assert await listed(error_code="file_missing") == {ids[State.MISSING]}
    assert await store.read_queries.get_item(10_000) is None
    assert await store.read_queries.items_by_path(b"/nowhere") == []


async def test_progress_of_an_import(store: Store) -> None:
    options = {"priority": Priority.NORMAL, "tags": (), "force": False, "now": 1.0}
    new_import_id, _ = await store.import_store.start_import("key", paths=[b"/m"], **options)
    ids = [
        (await store.put(b"/m/%d" % n, version(n, size=10 + n), source(import_id=new_import_id))).item_id
        for n in range(4)
    ]
    await store.put(b"/other", version(50))
    await store.queue.accept(
        await store.claim(ids[0]), asset_id="a", sha256=digest(1), duplicate=True, embedded=True, now=1.0
    )
    await store.accept(await store.claim(ids[1]))
    await store.queue.discard(await store.claim(ids[2]), error_code=ErrorCode.REJECTED, error_message="r", now=1.0)
    states = {State.READY: 1, State.EMBEDDING: 1, State.FAILED: 1, State.PENDING: 1}
    progress = await store.read_queries.progress(new_import_id)
    assert progress == ImportProgress(
        total=4,
        by_state={state: states.get(state, 0) for state in State},
        bytes_total=10 + 11 + 12 + 13,
        bytes_done=10 + 11 + 12,
        duplicates=1,
        scanning=True,
        due_at=None,
    )
    await store.import_store.finish_root((await store.import_store.unfinished_roots())[0].id, now=2.0)
    assert not (await store.read_queries.progress(new_import_id)).scanning


async def test_an_import_with_only_delayed_items_is_due_with_the_first_of_them(store: Store) -> None:
    options = {"priority": Priority.NORMAL, "tags": (), "force": False, "now": 1.0}
    new_import_id, _ = await store.import_store.start_import("key", paths=[b"/m"], **options)
    ids = [(await store.put(b"/m/%d" % n, version(n), source(import_id=new_import_id))).item_id for n in range(3)]

    async def due_at() -> float | None:
        return (await store.read_queries.progress(new_import_id)).due_at

    for item_id, next_at in zip(ids, (30.0, 20.0, 40.0), strict=True):
        assert await due_at() is None
        leased = await store.claim(item_id)
        assert await due_at() is None
        await store.queue.retry(leased, error_code=ErrorCode.UNREACHABLE, error_message="r", next_at=next_at, now=1.0)
    assert await due_at() is None, "the scan can find more files"
    await store.import_store.finish_root((await store.import_store.unfinished_roots())[0].id, now=2.0)
    assert await due_at() == 20.0
    await store.accept(await store.claim(ids[0]))
    assert await due_at() is None, "an embedding is pending, whose next_at is a poll"


async def test_events_contain_each_change_once_in_the_order_of_the_commits(store: Store) -> None:
    assert (await store.read_queries.newest_event_seq(), await store.read_queries.oldest_event_seq()) == (0, 0)
    item_id = await store.new_in(State.READY, 1)
    events = await store.read_queries.events(since=0, limit=100)
    # The claim of the fixture makes the item urgent first, which is an event too.
    assert [event.state for event in events] == [State.PENDING, State.PENDING, State.UPLOADING, State.READY]
    assert [event.seq for event in events] == [1, 2, 3, 4]
    assert {(event.item_id, event.path) for event in events} == {(item_id, b"/memes/1.png")}
    assert await store.read_queries.newest_event_seq() == 4
    assert [event.seq for event in await store.read_queries.events(since=2, limit=1)] == [3]
    await store.enqueue(b"/memes/1.png")  # known: no event
    assert await store.read_queries.newest_event_seq() == 4


async def test_assets_are_mapped_to_local_paths(store: Store) -> None:
    for path in (b"/a", b"/copy"):
        leased = await store.claim((await store.put(path, version(len(path)))).item_id)
        await store.queue.accept(leased, asset_id="same", sha256=digest(1), duplicate=False, embedded=True, now=1.0)
    await store.new_in(State.READY, 7)
    assert await store.read_queries.paths_by_asset_id(["same", "unknown"]) == {"same": b"/copy"}


async def test_settings_are_kept(store: Store) -> None:
    assert await store.settings_store.get("paused") is None
    await store.settings_store.set("paused", "yes", now=1.0)
    await store.settings_store.set("paused", "no", now=2.0)
    assert await store.settings_store.get("paused") == "no"


async def test_the_ledger_records_removals_and_forgets_entries(store: Store) -> None:
    item_id = await store.new_in(State.READY, 1)
    await store.ledger.mark_removed(digest(item_id), now=5.0)
    await store.ledger.mark_removed(f"a{item_id}", now=9.0)  # the removal is recorded already
    content = await store.ledger.get(digest(item_id))
    assert content is not None
    assert content.removed_at == 5.0
    await store.ledger.forget(digest(item_id))
    assert await store.ledger.get(digest(item_id)) is None


async def test_a_content_that_is_uploaded_again_is_not_removed(store: Store) -> None:
    item_id = await store.new_in(State.READY, 1)
    await store.ledger.mark_removed(f"a{item_id}", now=5.0)
    again = await store.claim((await store.put(b"/again", version(2))).item_id)
    await store.queue.accept(again, asset_id="new", sha256=digest(item_id), duplicate=False, embedded=False, now=6.0)
    content = await store.ledger.get(digest(item_id))
    assert content is not None
    assert (content.asset_id, content.was_embedded, content.removed_at) == ("new", False, None)


async def test_rows_beyond_their_retention_are_pruned(store: Store) -> None:
    options = {"priority": Priority.NORMAL, "tags": (), "force": False}
    old, _ = await store.import_store.start_import("old", paths=[b"/a"], now=0.0, **options)
    await store.import_store.finish_root((await store.import_store.unfinished_roots())[0].id, now=1.0)
    await store.import_store.start_import("still scanning", paths=[b"/b"], now=0.0, **options)
    await store.import_store.start_import("new", paths=[], now=maintenance.IMPORT_RETENTION_S, **options)
    await store.put(b"/a/1", version(1), source(import_id=old))
    await store.idempotency_store.store_response("old", "r", now=0.0)
    now = maintenance.IMPORT_RETENTION_S + 2.0
    await store.idempotency_store.store_response("new", "r", now=now - maintenance.RESPONSE_RETENTION_S)
    assert await prune(store.database, now=now) == 2
    assert (await store.idempotency_store.get_response("old"), await store.idempotency_store.get_response("new")) == (
        None,
        "r",
    )
    assert [row[0] for row in await store.rows("SELECT idempotency_key FROM imports ORDER BY id")] == [
        "still scanning",
        "new",
    ]
    assert (await store.read_queries.progress(old)).total == 1  # its items keep the import id
    assert await prune(store.database, now=now) == 0


async def test_only_the_newest_events_are_kept(store: Store) -> None:
    await store.put(b"/a", version(1))
    await store.run(
        "WITH RECURSIVE n (i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < 102345)"
        " INSERT INTO events SELECT i, 0, 1, 'pending' FROM n"
    )
    assert await prune(store.database, now=0.0) == 2_345
    assert (await store.read_queries.oldest_event_seq(), await store.read_queries.newest_event_seq()) == (
        2_346,
        102_345,
    )


async def test_a_list_of_one_state_is_sorted_by_id_across_priorities(store: Store) -> None:
    """The index of the list holds one priority after another."""
    priorities = (Priority.NORMAL, Priority.URGENT, Priority.BACKGROUND)
    states = [*(state for state in State if state is not State.PENDING), State.PENDING]  # one claimable item at a time
    for number, (state, priority) in enumerate(itertools.product(states, priorities)):
        result = await store.put(b"/memes/%d.png" % number, version(number), source(priority))
        if state is not State.PENDING:
            shard = (await store.item(result.item_id)).shard
            (leased,) = await store.queue.claim_batch(shard, limit=1, now=1.0, chance=0.0)
            await store.lead(leased, state)
    for state in State:
        items = await store.read_queries.items(state=state, limit=100)
        assert [item.priority for item in items] == list(reversed(priorities))
        assert [item.id for item in items] == sorted((item.id for item in items), reverse=True)


async def test_pages_follow_each_other_backwards(store: Store) -> None:
    folder = await store.folder_store.watch(b"/m", device=1, inode=1, priority=Priority.NORMAL, tags=[], now=0.0)
    for n in range(7):
        await store.put(b"/%d" % n, version(n), source(folder_id=folder.id))
    failed = [await store.new_in(State.FAILED, 10 + n) for n in range(2)]
    error_code = (await store.read_queries.items(state=State.FAILED, limit=1))[0].error_code
    for of in (
        ItemFilter(),
        ItemFilter(State.PENDING),
        ItemFilter(folder_id=folder.id),
        ItemFilter(State.FAILED),
        ItemFilter(error_code=error_code),
    ):
        down = await store.read_queries.items(
            state=of.state, folder_id=of.folder_id, error_code=of.error_code, limit=100
        )
        up: list[int] = []
        after: int | None = 0
        while after is not None:
            page = await store.read_queries.page_after(of, after=after, limit=3)
            up, after = [item.id for item in page.items] + up, page.next
        assert up == [item.id for item in down]
    assert [
        item.id for item in (await store.read_queries.page_after(ItemFilter(State.FAILED), after=0, limit=5)).items
    ] == failed[::-1]


async def test_a_search_ignores_case_and_unicode_composition(store: Store) -> None:
    names = ["Grumpy CAT.png", "cafe\u0301.gif", "caf\u00e9 2.gif", "STRASSE.png", "dog.png"]
    paths = [os.fsencode(f"/cat/{name}") for name in names] + [b"/cat/\xff.png"]
    for number, path in enumerate(paths):
        await store.put(path, version(number))

    async def found(text: str) -> list[bytes]:
        return [item.path for item in (await store.read_queries.page(ItemFilter(text=text), limit=100)).items][::-1]

    assert await found("cat") == paths[:1]
    assert await found("cat grumpy") == paths[:1]
    assert await found("CAF\u00c9") == paths[1:3]
    assert await found("stra\u00dfe") == paths[3:4]
    assert await found("\udcff") == paths[5:]
    assert await found(" ") == paths
    assert await found("%") == []


async def test_a_search_by_name_reads_a_limited_number_of_rows_and_continues(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read_queries, "SCAN_ROWS_MAX", 4)
    ids = [(await store.put(b"/%s%d" % (b"dog" if n % 5 else b"cat", n), version(n))).item_id for n in range(11)]
    pages: list[list[int]] = []
    before = None
    while not pages or before is not None:
        page = await store.read_queries.page(ItemFilter(text="cat"), before=before, limit=2)
        pages.append([item.id for item in page.items])
        before = page.next
    assert pages == [[ids[10]], [ids[5]], [ids[0]]]
    assert (await store.read_queries.page(ItemFilter(text="cow"), limit=2)).next == ids[7]
    newer = await store.read_queries.page_after(ItemFilter(text="cat"), after=ids[0], limit=2)
    assert (newer.items, newer.next) == ([], ids[4])
