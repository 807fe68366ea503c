import os

import pytest
from storekit import Store, digest, origin, version

from splootd.core.fault import Fault
from splootd.core.item import Priority, State
from splootd.store import listing, upkeep
from splootd.store.listing import Filter, Progress
from splootd.store.upkeep import prune


async def test_the_counts_add_up(store: Store) -> None:
    for number, state in enumerate(State):
        for more in range(number + 1):
            await store.new_in(state, 100 * number + more)
    counts = await store.listing.counts()
    assert counts.by_state == {state: number + 1 for number, state in enumerate(State)}
    assert counts.bytes_by_state == {state: 100 * (number + 1) for number, state in enumerate(State)}
    assert counts.total == 28
    await store.assert_sums_are_right()


async def test_duplicates_and_delayed_ones_are_counted_apart(store: Store) -> None:
    leased = await store.claim((await store.put(b"/a", version(1))).item_id)
    await store.queue.accept(leased, asset_id="a", sha256=digest(1), duplicate=True, embedded=True, now=1.0)
    await store.put(b"/b", version(2), origin(Priority.BACKGROUND), settles_at=5.0)
    await store.put(b"/c", version(3))
    counts = await store.listing.counts()
    assert (counts.duplicates, counts.delayed) == (1, 1)
    assert counts.by_priority_pending == {Priority.URGENT: 0, Priority.NORMAL: 1, Priority.BACKGROUND: 1}
    await store.queue.promote(now=5.0)
    assert (await store.listing.counts()).delayed == 0


async def test_pages_follow_each_other_without_gap_or_repetition(store: Store) -> None:
    folder = await store.arrivals.watch(b"/m", device=1, inode=1, priority=Priority.NORMAL, tags=[], now=0.0)
    ids = [(await store.put(b"/%d" % n, version(n), origin(folder_id=folder.id))).item_id for n in range(7)]
    for filters in (
        {},
        {"state": State.PENDING},
        {"folder_id": folder.id},
        {"folder_id": folder.id, "state": State.PENDING},
    ):
        seen: list[int] = []
        while page := await store.listing.items(before=seen[-1] if seen else None, limit=3, **filters):
            seen += [item.id for item in page]
        assert seen == ids[::-1]


async def test_a_list_shows_what_it_is_asked_for(store: Store) -> None:
    folder = await store.arrivals.watch(b"/m", device=1, inode=1, priority=Priority.NORMAL, tags=[], now=0.0)
    ids = {state: await store.new_in(state, number) for number, state in enumerate(State)}
    inside = (await store.put(b"/m/a", version(99), origin(folder_id=folder.id))).item_id
    await store.queue.bury(await store.claim(inside), fault=Fault.REFUSED, reason="r", now=1.0)

    async def listed(**filters: object) -> set[int]:
        return {item.id for item in await store.listing.items(limit=100, **filters)}

    assert await listed() == {*ids.values(), inside}
    assert await listed(state=State.DEAD) == {ids[State.DEAD], inside}
    assert await listed(folder_id=folder.id) == {inside}
    assert await listed(folder_id=folder.id, state=State.READY) == set()
    assert await listed(fault="refused") == {ids[State.DEAD], inside}
    assert await listed(fault="refused", folder_id=folder.id) == {inside}
    assert await listed(fault="refused", state=State.READY) == set()
    assert await listed(fault="vanished") == {ids[State.GONE]}
    assert await store.listing.item(10_000) is None
    assert await store.listing.by_path(b"/nowhere") == []


async def test_progress_of_an_add(store: Store) -> None:
    options = {"priority": Priority.NORMAL, "tags": (), "force": False, "now": 1.0}
    add, _ = await store.arrivals.start_add("key", paths=[b"/m"], **options)
    ids = [(await store.put(b"/m/%d" % n, version(n, size=10 + n), origin(add_id=add))).item_id for n in range(4)]
    await store.put(b"/other", version(50))
    await store.queue.accept(
        await store.claim(ids[0]), asset_id="a", sha256=digest(1), duplicate=True, embedded=True, now=1.0
    )
    await store.accept(await store.claim(ids[1]))
    await store.queue.bury(await store.claim(ids[2]), fault=Fault.REFUSED, reason="r", now=1.0)
    states = {State.READY: 1, State.EMBEDDING: 1, State.DEAD: 1, State.PENDING: 1}
    progress = await store.listing.progress(add)
    assert progress == Progress(
        total=4,
        by_state={state: states.get(state, 0) for state in State},
        bytes_total=10 + 11 + 12 + 13,
        bytes_done=10 + 11 + 12,
        duplicates=1,
        walking=True,
        due_at=None,
    )
    await store.arrivals.root_done((await store.arrivals.roots_left())[0].id, now=2.0)
    assert not (await store.listing.progress(add)).walking


async def test_an_add_of_which_only_what_is_delayed_is_left_is_due_when_the_first_of_it_is(store: Store) -> None:
    options = {"priority": Priority.NORMAL, "tags": (), "force": False, "now": 1.0}
    add, _ = await store.arrivals.start_add("key", paths=[b"/m"], **options)
    ids = [(await store.put(b"/m/%d" % n, version(n), origin(add_id=add))).item_id for n in range(3)]

    async def due_at() -> float | None:
        return (await store.listing.progress(add)).due_at

    for item_id, next_at in zip(ids, (30.0, 20.0, 40.0), strict=True):
        assert await due_at() is None
        leased = await store.claim(item_id)
        assert await due_at() is None
        await store.queue.retry(leased, fault=Fault.UNREACHABLE, reason="r", next_at=next_at, now=1.0)
    assert await due_at() is None, "who walks may still find more"
    await store.arrivals.root_done((await store.arrivals.roots_left())[0].id, now=2.0)
    assert await due_at() == 20.0
    await store.accept(await store.claim(ids[0]))
    assert await due_at() is None, "an embedding is under way, and has a time of another kind"


async def test_events_tell_each_change_once_in_the_order_of_the_commits(store: Store) -> None:
    assert (await store.listing.newest_event(), await store.listing.oldest_event()) == (0, 0)
    item_id = await store.new_in(State.READY, 1)
    events = await store.listing.events(since=0, limit=100)
    # The claim of the kit makes it urgent first, which is news too.
    assert [event.state for event in events] == [State.PENDING, State.PENDING, State.UPLOADING, State.READY]
    assert [event.seq for event in events] == [1, 2, 3, 4]
    assert {(event.item_id, event.path) for event in events} == {(item_id, b"/memes/1.png")}
    assert await store.listing.newest_event() == 4
    assert [event.seq for event in await store.listing.events(since=2, limit=1)] == [3]
    await store.offer(b"/memes/1.png")  # known: no news
    assert await store.listing.newest_event() == 4


async def test_search_results_are_found_on_this_disk(store: Store) -> None:
    for path in (b"/a", b"/copy"):
        leased = await store.claim((await store.put(path, version(len(path)))).item_id)
        await store.queue.accept(leased, asset_id="same", sha256=digest(1), duplicate=False, embedded=True, now=1.0)
    await store.new_in(State.READY, 7)
    assert await store.listing.by_assets(["same", "unknown"]) == {"same": b"/copy"}


async def test_settings_are_kept(store: Store) -> None:
    assert await store.listing.setting("paused") is None
    await store.listing.set_setting("paused", "yes", now=1.0)
    await store.listing.set_setting("paused", "no", now=2.0)
    assert await store.listing.setting("paused") == "no"


async def test_the_ledger_forgets_by_force_and_learns_of_what_was_removed(store: Store) -> None:
    item_id = await store.new_in(State.READY, 1)
    await store.ledger.removed(digest(item_id), now=5.0)
    await store.ledger.removed(f"a{item_id}", now=9.0)  # it was known already
    content = await store.ledger.content(digest(item_id))
    assert content is not None
    assert content.removed_at == 5.0
    await store.ledger.forget(digest(item_id))
    assert await store.ledger.content(digest(item_id)) is None


async def test_a_content_that_is_sent_again_is_no_longer_removed(store: Store) -> None:
    item_id = await store.new_in(State.READY, 1)
    await store.ledger.removed(f"a{item_id}", now=5.0)
    again = await store.claim((await store.put(b"/again", version(2))).item_id)
    await store.queue.accept(again, asset_id="new", sha256=digest(item_id), duplicate=False, embedded=False, now=6.0)
    content = await store.ledger.content(digest(item_id))
    assert content is not None
    assert (content.asset_id, content.ready, content.removed_at) == ("new", False, None)


async def test_what_is_kept_for_a_while_only_is_pruned(store: Store) -> None:
    options = {"priority": Priority.NORMAL, "tags": (), "force": False}
    old, _ = await store.arrivals.start_add("old", paths=[b"/a"], now=0.0, **options)
    await store.arrivals.root_done((await store.arrivals.roots_left())[0].id, now=1.0)
    await store.arrivals.start_add("still walking", paths=[b"/b"], now=0.0, **options)
    await store.arrivals.start_add("new", paths=[], now=upkeep.ADDS_KEPT_S, **options)
    await store.put(b"/a/1", version(1), origin(add_id=old))
    await store.arrivals.remember("old", "r", now=0.0)
    now = upkeep.ADDS_KEPT_S + 2.0
    await store.arrivals.remember("new", "r", now=now - upkeep.REPLIES_KEPT_S)
    assert await prune(store.database, now=now) == 2
    assert (await store.arrivals.reply("old"), await store.arrivals.reply("new")) == (None, "r")
    assert [row[0] for row in await store.rows("SELECT key FROM adds ORDER BY id")] == ["still walking", "new"]
    assert (await store.listing.progress(old)).total == 1  # its items are still known by it
    assert await prune(store.database, now=now) == 0


async def test_of_the_news_only_the_newest_are_kept(store: Store) -> None:
    await store.put(b"/a", version(1))
    await store.run(
        "WITH RECURSIVE n (i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < 102345)"
        " INSERT INTO events SELECT i, 0, 1, 'pending' FROM n"
    )
    assert await prune(store.database, now=0.0) == 2_345
    assert (await store.listing.oldest_event(), await store.listing.newest_event()) == (2_346, 102_345)


async def test_pages_follow_each_other_backwards_too(store: Store) -> None:
    folder = await store.arrivals.watch(b"/m", device=1, inode=1, priority=Priority.NORMAL, tags=[], now=0.0)
    for n in range(7):
        await store.put(b"/%d" % n, version(n), origin(folder_id=folder.id))
    dead = [await store.new_in(State.DEAD, 10 + n) for n in range(2)]
    fault = (await store.listing.items(state=State.DEAD, limit=1))[0].fault
    for of in (Filter(), Filter(State.PENDING), Filter(folder_id=folder.id), Filter(State.DEAD), Filter(fault=fault)):
        down = await store.listing.items(state=of.state, folder_id=of.folder_id, fault=of.fault, limit=100)
        up: list[int] = []
        after: int | None = 0
        while after is not None:
            page = await store.listing.page_after(of, after=after, limit=3)
            up, after = [item.id for item in page.items] + up, page.next
        assert up == [item.id for item in down]
    assert [item.id for item in (await store.listing.page_after(Filter(State.DEAD), after=0, limit=5)).items] == dead[
        ::-1
    ]


async def test_names_are_found_whatever_their_case_and_composition(store: Store) -> None:
    names = ["Grumpy CAT.png", "cafe\u0301.gif", "caf\u00e9 2.gif", "STRASSE.png", "dog.png"]
    paths = [os.fsencode(f"/cat/{name}") for name in names] + [b"/cat/\xff.png"]
    for number, path in enumerate(paths):
        await store.put(path, version(number))

    async def found(text: str) -> list[bytes]:
        return [item.path for item in (await store.listing.page(Filter(text=text), limit=100)).items][::-1]

    assert await found("cat") == paths[:1]
    assert await found("cat grumpy") == paths[:1]
    assert await found("CAF\u00c9") == paths[1:3]
    assert await found("stra\u00dfe") == paths[3:4]
    assert await found("\udcff") == paths[5:]
    assert await found(" ") == paths
    assert await found("%") == []


async def test_a_search_by_name_looks_at_so_many_rows_and_goes_on_from_there(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "SCAN_ROWS_MAX", 4)
    ids = [(await store.put(b"/%s%d" % (b"dog" if n % 5 else b"cat", n), version(n))).item_id for n in range(11)]
    pages: list[list[int]] = []
    before = None
    while not pages or before is not None:
        page = await store.listing.page(Filter(text="cat"), before=before, limit=2)
        pages.append([item.id for item in page.items])
        before = page.next
    assert pages == [[ids[10]], [ids[5]], [ids[0]]]
    assert (await store.listing.page(Filter(text="cow"), limit=2)).next == ids[7]
    newer = await store.listing.page_after(Filter(text="cat"), after=ids[0], limit=2)
    assert (newer.items, newer.next) == ([], ids[4])
