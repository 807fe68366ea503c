"""Lease fencing: the completion of a worker whose lease was released changes nothing."""

from collections.abc import Awaitable, Callable

import pytest
from store_fixtures import Store, version

from splootd.core.error_code import ErrorCode
from splootd.core.item import Leased, State


async def in_a_batch(store: Store, leased: Leased) -> bool:
    (still_leased,) = await store.queue.accept_batch([store.accepted(leased)], now=0.0)
    return still_leased


Completion = Callable[[Store, Leased], Awaitable[bool]]
COMPLETIONS: dict[str, Completion] = {
    "accept": lambda store, leased: store.accept(leased),
    "accept in a batch": in_a_batch,
    "accept embedded": lambda store, leased: store.accept(leased, embedded=True),
    "retry": lambda s, x: s.queue.retry(x, error_code=ErrorCode.SERVER_ERROR, error_message="r", next_at=9.0, now=9.0),
    "snooze": lambda s, x: s.queue.snooze(
        x, error_code=ErrorCode.INTERRUPTED, error_message="r", next_at=None, now=9.0, version=version(9)
    ),
    "discard": lambda s, x: s.queue.discard(x, error_code=ErrorCode.REJECTED, error_message="r", now=9.0),
    "skip": lambda s, x: s.queue.skip(x, error_code=ErrorCode.UNSUPPORTED, error_message="r", now=9.0),
    "file_missing": lambda s, x: s.queue.file_missing(x, error_message="r", now=9.0),
}


@pytest.mark.parametrize("completion", COMPLETIONS)
@pytest.mark.parametrize(
    "meanwhile",
    ["claimed again", "pending", *(state for state in State if state not in (State.PENDING, State.UPLOADING))],
)
async def test_a_stale_completion_changes_nothing(store: Store, completion: str, meanwhile: str) -> None:
    """A completion with a released lease changes nothing, whatever the state of its item is."""
    item_id = (await store.put(b"/memes/0.png", version(0))).item_id
    stale = await store.claim(item_id)
    await store.queue.snooze(stale, error_code=ErrorCode.INTERRUPTED, error_message="released", next_at=None, now=1.0)
    if meanwhile != State.PENDING:
        leased = await store.claim(item_id)
        if meanwhile in (State.EMBEDDING, State.READY):
            assert await store.accept(leased, embedded=meanwhile == State.READY)
        elif meanwhile != "claimed again":
            name = {State.FAILED: "discard", State.MISSING: "file_missing", State.SKIPPED: "skip"}[State(meanwhile)]
            assert await COMPLETIONS[name](store, leased)
    tables = ("items", "ledger", "attempts", "events", "item_counts")
    before = [await store.rows(f"SELECT * FROM {table}") for table in tables]
    assert await COMPLETIONS[completion](store, stale) is False
    assert [await store.rows(f"SELECT * FROM {table}") for table in tables] == before


@pytest.mark.parametrize("completion", COMPLETIONS)
async def test_a_stale_completion_of_a_superseded_item_changes_nothing(store: Store, completion: str) -> None:
    item_id = (await store.put(b"/a", version(1))).item_id
    stale = await store.claim(item_id)
    await store.queue.snooze(stale, error_code=ErrorCode.INTERRUPTED, error_message="released", next_at=None, now=1.0)
    await store.claim(item_id)
    await store.put(b"/b", version(2))
    del store.disk[b"/b"]
    await store.put(b"/a", version(2))
    before = await store.item(item_id)
    assert await COMPLETIONS[completion](store, stale) is False
    assert await store.item(item_id) == before


@pytest.mark.parametrize("completion", COMPLETIONS)
async def test_a_completion_counts_once(store: Store, completion: str) -> None:
    item_id = (await store.put(b"/memes/0.png", version(0))).item_id
    leased = await store.claim(item_id)
    assert await COMPLETIONS[completion](store, leased) is True
    assert await COMPLETIONS[completion](store, leased) is False
