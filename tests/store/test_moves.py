"""The journal of what is put away: nothing moves that is not written down, and the rows follow the files."""

import pytest
from storekit import Store, digest, version

from splootd.core.after import After
from splootd.core.item import Item, Priority, State
from splootd.store.arrivals import Origin, Outcome
from splootd.store.moves import Move, Moves, Whereabouts

SHELF = After(b"/shelf")
TRASH = After(None)


@pytest.fixture
def moves(store: Store) -> Moves:
    return Moves(store.database, server_id=store.server, bells=store.bells)


def wishing(after: After | None, *, add_id: int | None = None, force: bool = False) -> Origin:
    return Origin(add_id, None, Priority.NORMAL, (), force, after)


async def ready(store: Store, path: bytes, number: int, after: After | None = SHELF) -> Item:
    arrival = await store.put(path, version(number), wishing(after))
    assert await store.accept(await store.claim(arrival.item_id), embedded=True)
    return await store.item(arrival.item_id)


async def begun(moves: Moves, item: Item, target: bytes = b"/shelf/x.png", *, is_trashed: bool = False) -> Move:
    note = b"/trash/info/x" if is_trashed else None
    move = await moves.begin(item, target=target, is_trashed=is_trashed, note=note, now=5.0)
    assert move is not None
    return move


async def wished(moves: Moves) -> list[int]:
    return [wish.item.id for wish in await moves.wishes(beyond=0, limit=100)]


async def test_only_what_the_library_has_and_makes_searchable_is_put_away(store: Store, moves: Moves) -> None:
    for number, state in enumerate(State):
        item_id = await store.new_in(state, number)
        await store.run("UPDATE items SET after = ? WHERE id = ?", (TRASH.word, item_id))
        assert await wished(moves) == ([item_id] if state is State.READY else [])
        await store.run("UPDATE items SET after = NULL")


async def test_another_version_does_not_inherit_the_wish(store: Store, moves: Moves) -> None:
    await ready(store, b"/a.png", 1)
    changed = await store.put(b"/a.png", version(2), wishing(None))
    assert changed.outcome is Outcome.CHANGED
    assert await wished(moves) == []


async def test_a_known_file_that_is_named_again_takes_the_wish_and_one_that_is_only_met_does_not(
    store: Store, moves: Moves
) -> None:
    item = await ready(store, b"/a.png", 1, None)
    await store.offer(b"/a.png", as_=wishing(TRASH))  # as a watched folder's full look offers it
    assert await wished(moves) == []
    add, _ = await store.arrivals.start_add(
        "k", priority=Priority.NORMAL, tags=(), force=False, after=TRASH, paths=[], now=1.0
    )
    await store.offer(b"/a.png", as_=await store.arrivals.origin(add, None))
    assert await wished(moves) == [item.id]


async def test_a_move_is_written_down_only_while_it_is_wanted(store: Store, moves: Moves) -> None:
    item = await ready(store, b"/a.png", 1)
    await moves.drop(item.id, reason="it changed", now=4.0)
    assert await moves.begin(item, target=b"/shelf/a.png", is_trashed=False, note=None, now=5.0) is None
    assert [line.reason for line in await store.listing.attempts(item.id)] == ["it changed"]


async def test_the_row_follows_its_file_to_a_folder_and_back_but_not_into_the_trash(store: Store, moves: Moves) -> None:
    item = await ready(store, b"/a.png", 1)
    await moves.end(await begun(moves, item), Whereabouts.THERE, now=6.0)
    assert (await store.item(item.id)).path == b"/shelf/x.png"
    there = await moves.of_item(item.id)
    assert there is not None
    back = await moves.begin_return(there, source=b"/a (2).png", now=7.0)
    assert back is not None
    await moves.end(back, Whereabouts.BACK, now=8.0)
    assert (await store.item(item.id)).path == b"/a (2).png"
    assert await moves.of_item(item.id) is None
    assert await moves.last() is None
    assert await wished(moves) == []  # what was brought back stays

    other = await ready(store, b"/b.png", 2, TRASH)
    await moves.end(await begun(moves, other, b"/trash/b.png", is_trashed=True), Whereabouts.THERE, now=6.0)
    assert (await store.item(other.id)).path == b"/b.png"
    await store.assert_sums_are_right()


async def test_a_file_whose_row_follows_it_takes_the_place_of_what_was_there(store: Store, moves: Moves) -> None:
    item, former = await ready(store, b"/a.png", 1), await ready(store, b"/shelf/x.png", 2, None)
    await moves.end(await begun(moves, item), Whereabouts.THERE, now=6.0)
    assert [each.id for each in await store.listing.by_path(b"/shelf/x.png")] == [item.id, former.id]


async def test_what_did_not_get_away_is_still_wanted(store: Store, moves: Moves) -> None:
    item = await ready(store, b"/a.png", 1)
    move = await begun(moves, item)
    assert await moves.under_way() == [move]
    await moves.end(move, Whereabouts.BACK, now=6.0)
    assert await moves.under_way() == []
    assert await wished(moves) == [item.id]
    await moves.end(move, Whereabouts.THERE, now=7.0)  # it has ended already
    assert (await store.item(item.id)).path == b"/a.png"


async def test_the_last_one_that_was_put_away_comes_back_first(store: Store, moves: Moves) -> None:
    for number in (1, 2, 3):
        item = await ready(store, b"/%d.png" % number, number)
        await moves.end(await begun(moves, item, b"/shelf/%d.png" % number), Whereabouts.THERE, now=6.0)
    order = []
    while move := await moves.last():
        order.append(move.source)
        back = await moves.begin_return(move, source=move.source, now=7.0)
        assert back is not None
        assert await moves.begin_return(move, source=move.source, now=7.0) is None
        await moves.end(back, Whereabouts.BACK, now=8.0)
    assert order == [b"/3.png", b"/2.png", b"/1.png"]


async def test_wishes_are_read_in_pages(store: Store, moves: Moves) -> None:
    items = [(await ready(store, b"/%d.png" % number, number)).id for number in range(5)]
    first = await moves.wishes(beyond=0, limit=3)
    rest = await moves.wishes(beyond=first[-1].item.id, limit=3)
    assert [wish.item.id for wish in first + rest] == items


async def test_when_the_server_last_had_a_content_is_remembered(store: Store) -> None:
    await ready(store, b"/a.png", 1)
    content = await store.ledger.content(digest(1))
    assert content is not None
    assert (content.seen_at, content.removed_at) == (0.0, None)
    await store.ledger.removed(digest(1), now=5.0)
    await store.ledger.seen(digest(1), now=9.0)
    content = await store.ledger.content(digest(1))
    assert content is not None
    assert (content.seen_at, content.removed_at) == (9.0, None)
