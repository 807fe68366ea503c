"""What becomes of a file that was found, and what is remembered of what was asked for."""

from typing import Any

import pytest
from storekit import Store, origin, version

from splootd.core.fault import Fault
from splootd.core.item import Item, Priority, State, Version, shard_of
from splootd.store.arrivals import OFFER_MAX, Candidate, Outcome
from splootd.store.ledger import server_id
from splootd.store.rows import signed, unsigned


async def test_a_new_file_is_queued_as_its_origin_says(store: Store) -> None:
    folder = await store.arrivals.watch(b"/m", device=1, inode=2, priority=Priority.NORMAL, tags=[], now=0.0)
    as_ = origin(Priority.BACKGROUND, folder_id=folder.id, add_id=3, tags=("a", "b"), force=True)
    arrival = await store.put(b"/m/a.png", version(1, size=5), as_, now=7.0, settles_at=9.0)
    assert (arrival.path, arrival.outcome, arrival.state) == (b"/m/a.png", Outcome.QUEUED, State.PENDING)
    assert await store.item(arrival.item_id) == Item(
        id=arrival.item_id,
        path=b"/m/a.png",
        version=version(1, size=5),
        state=State.PENDING,
        priority=Priority.BACKGROUND,
        shard=shard_of(b"/m/a.png"),
        added_at=7.0,
        updated_at=7.0,
        next_at=9.0,
        attempts=0,
        sha256=None,
        asset_id=None,
        duplicate=False,
        fault=None,
        reason=None,
        folder_id=folder.id,
        tags=("a", "b"),
        force=True,
    )


@pytest.mark.parametrize("state", [state for state in State if state is not State.GONE])
async def test_the_same_version_at_the_same_path_is_known(store: Store, state: State) -> None:
    item_id = await store.new_in(state, 1)
    before = await store.item(item_id)
    (arrival,) = await store.offer(b"/memes/1.png", now=50.0)
    assert (arrival.outcome, arrival.item_id, arrival.state) == (Outcome.KNOWN, item_id, state)
    assert await store.item(item_id) == before


@pytest.mark.parametrize("state", [state for state in State if state is not State.GONE])
async def test_a_disk_with_a_new_number_holds_known_files(store: Store, state: State) -> None:
    """Devices are numbered anew when the machine starts or a disk is plugged in again. Nothing is read for that."""
    item_id = await store.new_in(state, 1)
    before = await store.item(item_id)
    after = before.version._replace(device=8)
    arrival = await store.put(b"/memes/1.png", after, now=50.0)
    assert (arrival.outcome, arrival.item_id, arrival.state) == (Outcome.KNOWN, item_id, state)
    assert await store.item(item_id) == before._replace(version=after)


async def test_a_file_that_moved_on_a_disk_with_a_new_number_is_renamed_once_it_was_seen(store: Store) -> None:
    item_id = await store.new_in(State.READY, 1)
    renumbered = (await store.item(item_id)).version._replace(device=8)
    await store.put(b"/memes/1.png", renumbered)
    del store.disk[b"/memes/1.png"]
    arrival = await store.put(b"/memes/other.png", renumbered)
    assert (arrival.outcome, arrival.item_id) == (Outcome.RENAMED, item_id)


async def test_gone_comes_back(store: Store) -> None:
    item_id = await store.new_in(State.GONE, 1)
    (arrival,) = await store.offer(b"/memes/1.png", as_=origin(Priority.BACKGROUND), now=50.0, settles_at=52.0)
    assert (arrival.outcome, arrival.item_id, arrival.state) == (Outcome.REVIVED, item_id, State.PENDING)
    item = await store.item(item_id)
    assert (item.priority, item.attempts, item.fault, item.next_at) == (Priority.BACKGROUND, 0, None, 52.0)


async def test_forgotten_stays_forgotten(store: Store) -> None:
    item_id = await store.new_in(State.PENDING, 1)
    await store.queue.forget([item_id], now=1.0)
    for force in (False, True):
        (arrival,) = await store.offer(b"/memes/1.png", as_=origin(force=force), now=50.0)
        assert (arrival.outcome, arrival.state) == (Outcome.KNOWN, State.SKIPPED)


async def test_another_version_of_what_waits_takes_its_place_in_the_queue(store: Store) -> None:
    item_id = (await store.put(b"/a", version(1), now=1.0)).item_id
    leased = await store.claim(item_id)
    await store.queue.retry(leased, fault=Fault.SERVER_FAULT, reason="500", next_at=9.0, now=1.0)
    arrival = await store.put(b"/a", version(2, inode=1), now=5.0, settles_at=7.0)
    assert (arrival.outcome, arrival.item_id) == (Outcome.CHANGED, item_id)
    item = await store.item(item_id)
    assert (item.version, item.added_at, item.next_at, item.attempts) == (version(2, inode=1), 1.0, 7.0, 0)


async def test_another_version_of_what_is_under_way_is_left_to_its_lane(store: Store) -> None:
    item_id = await store.new_in(State.UPLOADING, 1)
    arrival = await store.put(b"/memes/1.png", version(2))
    assert (arrival.outcome, arrival.item_id, arrival.state) == (Outcome.KNOWN, item_id, State.UPLOADING)
    assert (await store.item(item_id)).version == version(1)


@pytest.mark.parametrize("state", [state for state in State if state not in (State.PENDING, State.UPLOADING)])
async def test_another_version_of_anything_else_is_a_new_item(store: Store, state: State) -> None:
    """And nobody is asked to look at the dead letter of a version that no longer exists."""
    former = await store.new_in(state, 1)
    arrival = await store.put(b"/memes/1.png", version(2), now=5.0)
    assert (arrival.outcome, arrival.state) == (Outcome.CHANGED, State.PENDING)
    assert arrival.item_id != former
    assert [item.id for item in await store.listing.by_path(b"/memes/1.png")] == [arrival.item_id, former]
    assert (await store.item(former)).state is (State.SKIPPED if state is State.DEAD else state)
    assert await store.queue.revive(ids=[former], now=6.0) == []
    (again,) = await store.offer(b"/memes/1.png")
    assert (again.outcome, again.item_id) == (Outcome.KNOWN, arrival.item_id)
    await store.assert_sums_are_right()


@pytest.mark.parametrize("state", State)
async def test_renaming_moves_nothing_but_the_path(store: Store, state: State) -> None:
    item_id = await store.new_in(state, 1)
    before = await store.item(item_id)
    del store.disk[b"/memes/1.png"]
    arrival = await store.put(b"/elsewhere/new name.png", version(1), now=50.0)
    assert (arrival.outcome, arrival.item_id) == (Outcome.RENAMED, item_id)
    after = await store.item(item_id)
    if state is State.GONE:  # and it is there again
        assert (after.path, after.state, after.shard) == (b"/elsewhere/new name.png", State.PENDING, before.shard)
    else:
        assert after == before._replace(path=b"/elsewhere/new name.png", updated_at=50.0)
    assert await store.listing.by_path(b"/memes/1.png") == []


async def test_a_hard_link_is_a_new_item(store: Store) -> None:
    first = await store.put(b"/a", version(1))
    second = await store.put(b"/b", version(1))
    assert (second.outcome, second.item_id != first.item_id) == (Outcome.QUEUED, True)
    del store.disk[b"/a"]
    third = await store.put(b"/c", version(1))  # a rename of the one that is no longer there
    assert (third.outcome, third.item_id) == (Outcome.RENAMED, first.item_id)


@pytest.mark.parametrize("state", State)
async def test_a_file_that_is_renamed_over_another_takes_its_path(store: Store, state: State) -> None:
    over = await store.new_in(state, 1)
    moved = (await store.put(b"/moved", version(2))).item_id
    del store.disk[b"/moved"]
    arrival = await store.put(b"/memes/1.png", version(2))
    assert (arrival.outcome, arrival.item_id) == (Outcome.RENAMED, moved)
    ended = {State.PENDING: State.GONE, State.DEAD: State.SKIPPED}
    assert (await store.item(over)).state is ended.get(state, state)
    assert [item.id for item in await store.listing.by_path(b"/memes/1.png")] == [moved, over]
    await store.assert_sums_are_right()


@pytest.mark.parametrize("answer", ["retry", "wait", "bury", "vanish", "recover", "skip", "accept"])
async def test_what_lost_its_path_while_it_was_under_way_never_waits_again(store: Store, answer: str) -> None:
    over = await store.claim((await store.put(b"/a", version(1))).item_id)
    await store.put(b"/b", version(2))
    del store.disk[b"/b"]
    await store.put(b"/a", version(2))
    told: dict[str, Any] = {"fault": Fault.DISTURBED, "reason": "r", "now": 5.0}
    match answer:
        case "retry" | "wait":
            assert await getattr(store.queue, answer)(over, next_at=9.0, **told)
        case "bury" | "skip":
            assert await getattr(store.queue, answer)(over, **told)
        case "vanish":
            assert await store.queue.vanish(over, reason="r", now=5.0)
        case "recover":
            assert await store.queue_of("boot2").recover(now=5.0) == 1
        case "accept":
            assert await store.accept(over)
    ended = {"skip": State.SKIPPED, "accept": State.EMBEDDING}
    assert (await store.item(over.item.id)).state is ended.get(answer, State.GONE)


async def test_what_was_renamed_while_it_was_under_way_is_not_gone(store: Store) -> None:
    leased = await store.claim((await store.put(b"/a", version(1))).item_id)
    del store.disk[b"/a"]
    await store.put(b"/b", version(1))
    assert await store.queue.vanish(leased, reason="not there", now=5.0)
    item = await store.item(leased.item.id)
    assert (item.path, item.state, item.fault) == (b"/b", State.PENDING, "disturbed")


async def test_what_is_removed_there_is_sent_again_only_by_force(store: Store) -> None:
    ready, skipped = await store.new_in(State.READY, 1), await store.new_in(State.EMBEDDING, 2)
    await store.ledger.removed(f"a{ready}", now=5.0)
    await store.queue.removed(skipped, reason="removed", now=5.0)
    paths = (b"/memes/1.png", b"/memes/2.png")
    assert [arrival.outcome for arrival in await store.offer(*paths)] == [Outcome.KNOWN] * 2
    forced = await store.offer(*paths, as_=origin(force=True))
    assert [arrival.outcome for arrival in forced] == [Outcome.QUEUED] * 2
    assert {arrival.item_id for arrival in forced}.isdisjoint({ready, skipped})
    assert [(await store.item(arrival.item_id)).force for arrival in forced] == [True, True]


async def test_by_force_what_the_library_may_miss_is_queued_afresh(store: Store) -> None:
    """It is asked before anything is sent."""
    ready = await store.new_in(State.READY, 1)
    (arrival,) = await store.offer(b"/memes/1.png", as_=origin(force=True))
    assert (arrival.outcome, arrival.state) == (Outcome.QUEUED, State.PENDING)
    assert arrival.item_id != ready
    (again,) = await store.offer(b"/memes/1.png", as_=origin(force=True))
    assert (again.outcome, again.item_id) == (Outcome.KNOWN, arrival.item_id)


async def test_by_force_a_dead_letter_is_not_sent_before_it_is_mended(store: Store) -> None:
    dead = await store.new_in(State.DEAD, 1)
    (arrival,) = await store.offer(b"/memes/1.png", as_=origin(force=True))
    assert (arrival.outcome, arrival.item_id) == (Outcome.KNOWN, dead)


async def test_one_offer_may_name_a_file_twice_and_only_so_many(store: Store) -> None:
    store.disk[b"/a"] = version(1)
    assert [each.outcome for each in await store.offer(b"/a", b"/a")] == [Outcome.QUEUED, Outcome.KNOWN]
    candidates = [Candidate(b"/a", version(1), None)] * (OFFER_MAX + 1)
    with pytest.raises(ValueError, match="1001 candidates"):
        await store.arrivals.offer(candidates, origin(), still_there=store.is_still_there, now=0.0)


@pytest.mark.parametrize("number", [0, 1, 2**63 - 1, 2**63, 2**64 - 1])
async def test_inodes_of_64_bits_are_kept(store: Store, number: int) -> None:
    assert unsigned(signed(number)) == number
    of = Version(size=1, mtime_ns=-5, device=number, inode=number)
    arrival = await store.put(b"/a", of)
    assert (await store.item(arrival.item_id)).version == of
    folder = await store.arrivals.watch(b"/m", device=number, inode=number, priority=Priority.NORMAL, tags=[], now=0.0)
    assert (folder.device, folder.inode) == (number, number)


@pytest.mark.parametrize("path", [b"/\xff\xfe.png", b"/new\nline", b"/'; DROP TABLE items; --", b"/" + b"x" * 4000])
async def test_any_name_is_kept_as_its_bytes(store: Store, path: bytes) -> None:
    arrival = await store.put(path, version(1))
    assert (await store.item(arrival.item_id)).path == path
    assert [item.id for item in await store.listing.by_path(path)] == [arrival.item_id]


async def test_each_server_has_its_own_items(store: Store) -> None:
    await store.new_in(State.READY, 1)
    other = await server_id(store.database, "https://other.test")
    assert other != store.server
    assert await server_id(store.database, "https://other.test") == other
    elsewhere = type(store.arrivals)(store.database, server_id=other, bells=store.bells)
    candidate = Candidate(b"/memes/1.png", version(1), None)
    (arrival,) = await elsewhere.offer([candidate], origin(), still_there=store.is_still_there, now=0.0)
    assert arrival.outcome is Outcome.QUEUED
    assert (await store.listing.counts()).total == 1
