"""A lane that was given up for lost comes back: whatever it says, it changes nothing."""

from collections.abc import Awaitable, Callable

import pytest
from storekit import Store, version

from splootd.core.fault import Fault
from splootd.core.item import Leased, State


async def in_a_group(store: Store, leased: Leased) -> bool:
    (is_ours,) = await store.queue.accept_group([store.accepted(leased)], now=0.0)
    return is_ours


Answer = Callable[[Store, Leased], Awaitable[bool]]
ANSWERS: dict[str, Answer] = {
    "accept": lambda store, leased: store.accept(leased),
    "accept in a group": in_a_group,
    "accept at once": lambda store, leased: store.accept(leased, embedded=True),
    "retry": lambda s, x: s.queue.retry(x, fault=Fault.SERVER_FAULT, reason="r", next_at=9.0, now=9.0),
    "wait": lambda s, x: s.queue.wait(x, fault=Fault.DISTURBED, reason="r", next_at=None, now=9.0, version=version(9)),
    "bury": lambda s, x: s.queue.bury(x, fault=Fault.REFUSED, reason="r", now=9.0),
    "skip": lambda s, x: s.queue.skip(x, fault=Fault.UNSUPPORTED, reason="r", now=9.0),
    "vanish": lambda s, x: s.queue.vanish(x, reason="r", now=9.0),
}


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize(
    "meanwhile",
    ["claimed again", "pending", *(state for state in State if state not in (State.PENDING, State.UPLOADING))],
)
async def test_a_ghost_changes_nothing(store: Store, answer: str, meanwhile: str) -> None:
    """A lane that was given up for lost comes back, whatever has become of its item."""
    item_id = (await store.put(b"/memes/0.png", version(0))).item_id
    ghost = await store.claim(item_id)
    await store.queue.wait(ghost, fault=Fault.DISTURBED, reason="given up for lost", next_at=None, now=1.0)
    if meanwhile != State.PENDING:
        leased = await store.claim(item_id)
        if meanwhile in (State.EMBEDDING, State.READY):
            assert await store.accept(leased, embedded=meanwhile == State.READY)
        elif meanwhile != "claimed again":
            name = {State.DEAD: "bury", State.GONE: "vanish", State.SKIPPED: "skip"}[State(meanwhile)]
            assert await ANSWERS[name](store, leased)
    tables = ("items", "contents", "attempts", "events", "counts")
    before = [await store.rows(f"SELECT * FROM {table}") for table in tables]
    assert await ANSWERS[answer](store, ghost) is False
    assert [await store.rows(f"SELECT * FROM {table}") for table in tables] == before


@pytest.mark.parametrize("answer", ANSWERS)
async def test_a_ghost_changes_nothing_either_when_its_item_has_lost_its_path(store: Store, answer: str) -> None:
    item_id = (await store.put(b"/a", version(1))).item_id
    ghost = await store.claim(item_id)
    await store.queue.wait(ghost, fault=Fault.DISTURBED, reason="given up for lost", next_at=None, now=1.0)
    await store.claim(item_id)
    await store.put(b"/b", version(2))
    del store.disk[b"/b"]
    await store.put(b"/a", version(2))
    before = await store.item(item_id)
    assert await ANSWERS[answer](store, ghost) is False
    assert await store.item(item_id) == before


@pytest.mark.parametrize("answer", ANSWERS)
async def test_an_answer_counts_once(store: Store, answer: str) -> None:
    item_id = (await store.put(b"/memes/0.png", version(0))).item_id
    leased = await store.claim(item_id)
    assert await ANSWERS[answer](store, leased) is True
    assert await ANSWERS[answer](store, leased) is False
