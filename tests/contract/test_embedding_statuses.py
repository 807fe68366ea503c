"""Every upload becomes `ready` whichever of Sploot's answers about embeddings fail: list, batch, single asset, push.

The daemon and a simulated Sploot run in one process, on a clock that jumps (`simulated_machine.py`). This Sploot has no
push channel, as if it were missing; `tests/embeddings/test_push.py` has the faults of a push channel.
"""

import asyncio
import hashlib
import itertools
from collections.abc import Callable, Mapping, Sequence

import pytest
from pipeline_fixtures import jpeg
from real_sploot import sleep_for
from simulated_machine import World, simulate

from splootd.core.item import Item, State

ALWAYS = 10_000  # faults of one route, more than any of these tests sends requests
LIST_FAULTS = ["missing", "error", "hang", "page", "reset"]


def fail(world: World, **faults: str | None) -> None:
    """Let every request of these routes fail."""
    for route, fault in faults.items():
        world.fault_proxy.script(route, [fault] * ALWAYS if fault else [])


def is_reachable(world: World, items: Sequence[Item]) -> bool:
    """Return whether all items have ended; on the way the server must never be called unreachable."""
    assert world.instance.admission.state == "ok"
    return bool(items) and all(item.state in (State.READY, State.FAILED) for item in items)


async def wait_for(world: World, condition: Callable[[Mapping[State, int]], bool]) -> None:
    """Let time pass until the counts by state satisfy `condition`, which is tested five times a second."""
    while not condition((await world.instance.read_queries.counts()).by_state):
        await sleep_for(0.2)


@pytest.mark.parametrize(
    ("assets", "statuses", "asset"),
    [
        *itertools.product(LIST_FAULTS, [None, "missing", "error"], [None]),
        *itertools.product([None], [None, "missing", "hang"], [None, "missing", "error"]),
    ],
)
def test_what_a_failing_answer_leaves_out_is_asked_for_in_another_way(
    assets: str | None, statuses: str | None, asset: str | None
) -> None:
    """Failed embeddings are told apart, although batches report them as `ready`."""

    async def story(world: World) -> None:
        world.sploot.failing_embeddings = 0.4
        world.sploot.embed_s = 5.0
        fail(world, assets=assets, statuses=statuses, asset=asset)
        await world.start()
        await world.add(*world.files(*[f"{number}.jpg" for number in range(20)]))
        items = await world.wait_until(lambda items: is_reachable(world, items))
        failed = {each.sha256 for each in world.sploot.assets.values() if each.fails}
        assert 0 < len(failed) < 20
        assert {item.sha256.hex() for item in items if item.state is State.FAILED and item.sha256} == failed

    simulate(story)


@pytest.mark.parametrize("assets", LIST_FAULTS)
@pytest.mark.parametrize("asset", ["missing", "error", "hang"])
def test_a_batch_is_believed_if_nothing_else_answers(assets: str, asset: str) -> None:
    async def story(world: World) -> None:
        world.sploot.embed_s = 5.0
        fail(world, assets=assets, asset=asset)
        await world.start()
        await world.add(*world.files(*[f"{number}.jpg" for number in range(20)]))
        items = await world.wait_until(lambda items: is_reachable(world, items))
        assert {item.state for item in items} == {State.READY}

    simulate(story)


def test_a_list_that_does_not_answer_is_asked_for_ever_more_rarely() -> None:
    async def story(world: World) -> None:
        world.sploot.embed_s = 3_000.0
        fail(world, assets="missing")
        await world.start()
        await world.add(*world.files("a.jpg", "b.jpg"))
        assert {item.state for item in await world.wait_until(lambda items: is_reachable(world, items))} == {
            State.READY
        }
        assert sum(request.route == "assets" for request in world.requests) <= 10

    simulate(story)


def test_a_list_that_answers_again_is_used_again() -> None:
    async def story(world: World) -> None:
        world.fault_proxy.script("assets", ["error"])
        await world.start()
        await world.add(*world.files("a.jpg"))
        await world.wait_until(lambda items: is_reachable(world, items))
        await world.add(*world.files(*[f"{number}.jpg" for number in range(300)]))
        await world.wait_until(lambda items: is_reachable(world, items))
        assert sum(request.route == "assets" for request in world.requests) > 1
        assert sum(request.route == "asset" for request in world.requests) < 20

    simulate(story)


def count_generated(world: World) -> int:
    return sum(request.target.endswith("/generate-embedding") for request in world.requests)


def now() -> float:
    return asyncio.get_running_loop().time()


def test_an_embedding_whose_upload_lost_its_answer_is_requested_within_seconds() -> None:
    """Sploot never begins on the embedding of a client that has gone, and says `hasEmbedding: false`."""

    async def story(world: World) -> None:
        world.fault_proxy.script("upload", ["none", "reset after", "none"])
        await world.start()
        await world.add(*world.files("a.jpg", "b.jpg", "c.jpg"))
        assert {item.state for item in await world.wait_until_finished()} == {State.READY}
        assert now() < 25.0
        assert (count_generated(world), sum(world.summary.created.values())) == (1, 3)

    simulate(story)


@pytest.mark.parametrize("failing", ["reset after", "error after"])
def test_an_embedding_is_requested_although_no_single_asset_is_answered(failing: str) -> None:
    async def story(world: World) -> None:
        world.fault_proxy.script("upload", ["reset after"])
        fail(world, asset=failing)
        await world.start()
        await world.add(*world.files("a.jpg"))
        assert {item.state for item in await world.wait_until_finished()} == {State.READY}

    simulate(story)


def test_an_embedding_whose_upload_the_daemon_did_not_survive_is_requested_within_seconds() -> None:
    async def story(world: World) -> None:
        world.fault_proxy.script("upload", ["reset after"] * 8)
        await world.start()
        await world.add(*world.files(*[f"{number}.jpg" for number in range(8)]))
        await wait_for(world, lambda counts: counts[State.UPLOADING] + counts[State.EMBEDDING] == 8)
        await world.crash()
        await world.start()
        assert {item.state for item in await world.wait_until_finished()} == {State.READY}
        assert now() < 90.0

    simulate(story)


def test_patience_counts_from_the_upload_and_not_from_the_start_of_the_daemon() -> None:
    """Two restarts in half an hour do not make an embedding wait longer that the server has forgotten."""

    async def story(world: World) -> None:
        world.sploot.missing_embeddings = 1.0
        await world.start()
        await world.add(*world.files("a.jpg"))
        await wait_for(world, lambda counts: counts[State.EMBEDDING] == 1)
        for _ in range(2):
            await sleep_for(840)
            await world.crash()
            await world.start()
        assert {item.state for item in await world.wait_until_finished()} == {State.READY}
        assert now() < 2_000.0
        assert count_generated(world) == 1

    simulate(story)


def test_an_embedding_is_stuck_after_twenty_times_what_the_others_take() -> None:
    async def story(world: World) -> None:
        world.sploot.missing_embeddings = 0.1
        await world.start()
        await world.add(*world.files(*[f"{number}.jpg" for number in range(60)]))
        assert {item.state for item in await world.wait_until_finished()} == {State.READY}
        assert count_generated(world) > 1
        assert now() < 180.0

    simulate(story)


def test_a_copy_of_a_content_that_was_just_deleted_is_not_called_ready() -> None:
    async def story(world: World) -> None:
        await world.start()
        first, copy = (world.write(world.folder / "memes" / name, jpeg("same")) for name in ("a.jpg", "b.jpg"))
        await world.add(first)
        await world.wait_until_finished()
        world.sploot.remove(hashlib.sha256(jpeg("same")).hexdigest())
        await world.add(copy)
        items = await world.wait_until_finished()
        assert {(item.path.rpartition(b"/")[2], item.state) for item in items} == {
            (b"a.jpg", State.READY),
            (b"b.jpg", State.SKIPPED),
        }

    simulate(story)


@pytest.mark.parametrize("embed_s", [0.0, 1e9], ids=["at once", "all together, after the last upload"])
def test_a_thousand_embeddings_are_known_within_fifteen_seconds_of_the_last_upload(
    embed_s: float, capsys: pytest.CaptureFixture[str]
) -> None:
    """With at most one request about statuses in two seconds."""

    async def story(world: World) -> tuple[float, Sequence[float]]:
        world.sploot.embed_s, world.sploot.work_s = embed_s, 0.2
        await world.start()
        await world.add(*world.files(*[f"{number}.jpg" for number in range(1_000)]))
        await wait_for(world, lambda counts: not counts[State.PENDING] and not counts[State.UPLOADING])
        last_upload_at, world.sploot.embed_s = asyncio.get_running_loop().time(), 0.0
        await wait_for(world, lambda counts: counts[State.READY] == 1_000)
        return asyncio.get_running_loop().time() - last_upload_at, world.instance.polled_at

    took_s, polled_at = simulate(story)
    gap_s = min(later - earlier for earlier, later in itertools.pairwise(polled_at))
    with capsys.disabled():
        print(f"\n1,000 known {took_s:.1f} s after the last upload: {len(polled_at)} requests, {gap_s:.2f} s apart")
    assert took_s <= 15.0
    assert gap_s >= 1.8, "they leave two seconds apart and arrive after a network of 50 ms"
