"""After suspend or a clock jump, delayed items are due in time and old connections are not used."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from pipeline_fixtures import JumpClock, PipelineHarness, jpeg, open_pipeline
from scripted_sploot import disconnect

from splootd.clock import IDLE_WAKE_S
from splootd.core.circuit_breaker import CircuitState
from splootd.core.error_code import ErrorCode
from splootd.core.item import Priority, State
from splootd.errors import RateLimited
from splootd.system.clock_monitor import JUMP_THRESHOLD_S, STALL_THRESHOLD_S, ClockMonitor
from splootd.system.network_routes import read_routes

YEAR_S = 365 * 86_400.0
HOUR_S = 3_600.0


class TwoClocks(JumpClock):
    """A wall clock that can be set independently of the monotonic clock."""

    def __init__(self) -> None:
        super().__init__()
        self.set_s = 0.0

    def now(self) -> float:
        return super().now() + self.set_s


@dataclass
class ClockHarness:
    pipeline: PipelineHarness
    clock: TwoClocks
    monitor: ClockMonitor
    rescans: list[str] = field(default_factory=list)
    routes: set[str] = field(default_factory=set)

    async def check(self) -> bool:
        return (await self.monitor.run_once()).is_significant


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[ClockHarness]:
    async with open_pipeline(tmp_path) as pipeline:
        clock, rescans, routes = TwoClocks(), list[str](), {"wlan0 00000000 0101A8C0"}
        for each in (pipeline, pipeline.admission, pipeline.uploader, pipeline.tracker):
            if hasattr(each, "clock"):
                each.clock = clock
            if hasattr(each, "_clock"):
                each._clock = clock
        monitor = ClockMonitor(
            pipeline.store.queue,
            pipeline.client,
            pipeline.admission,
            clock=clock,
            wake_signals=pipeline.store.wake_signals,
            settle_s=2.0,
            request_rescan=lambda: rescans.append("rescan"),
            get_routes=lambda: frozenset(routes),
        )
        harness = ClockHarness(pipeline, clock, monitor, rescans, routes)
        assert not await harness.check()
        yield harness


async def delayed(harness: ClockHarness) -> int:
    item_id = await harness.pipeline.add("a.jpg")
    leased = await harness.pipeline.store.claim(item_id, now=harness.clock.now())
    next_at = harness.clock.now() + 30.0
    await harness.pipeline.store.queue.retry(
        leased, error_code=ErrorCode.SERVER_ERROR, error_message="500", next_at=next_at, now=harness.clock.now()
    )
    return item_id


async def test_regular_time_is_no_jump(harness: ClockHarness) -> None:
    await delayed(harness)
    for seconds in (1.0, IDLE_WAKE_S, IDLE_WAKE_S + STALL_THRESHOLD_S / 2):
        harness.clock.ahead_s += seconds
        assert not await harness.check()
    harness.clock.set_s += JUMP_THRESHOLD_S / 2  # slewed, or a leap second
    assert not await harness.check()
    assert harness.rescans == []


@pytest.mark.parametrize("set_s", [-YEAR_S, -HOUR_S, -JUMP_THRESHOLD_S - 1])
async def test_after_the_clock_is_set_back_delayed_items_are_due_in_time(harness: ClockHarness, set_s: float) -> None:
    item_id = await delayed(harness)
    harness.clock.set_s = set_s
    assert await harness.check()
    next_at = (await harness.pipeline.store.item(item_id)).next_at
    assert next_at is None or next_at - harness.clock.now() <= 60.0
    assert harness.rescans == ["rescan"]
    assert not await harness.check()  # detected only once


async def test_after_the_clock_is_set_forward_nothing_is_lost(harness: ClockHarness) -> None:
    item_id = await delayed(harness)
    harness.clock.set_s = YEAR_S
    assert await harness.check()
    assert await harness.pipeline.store.queue.make_due(now=harness.clock.now()) == 1
    assert (await harness.pipeline.take(item_id)).state is State.EMBEDDING


async def test_at_the_start_items_delayed_by_an_earlier_clock_are_due(harness: ClockHarness) -> None:
    item_id = await delayed(harness)
    harness.clock.set_s = -YEAR_S
    await harness.monitor._clamp_delays()
    assert (await harness.pipeline.store.item(item_id)).next_at is None


async def test_embedding_items_are_queried_after_the_clock_was_set_back(harness: ClockHarness) -> None:
    item = await harness.pipeline.take(await harness.pipeline.add("a.jpg", jpeg("a")))
    assert item.state is State.EMBEDDING
    harness.clock.set_s = -YEAR_S
    assert await harness.check()
    await harness.pipeline.tracker.run_once()
    assert (await harness.pipeline.store.item(item.id)).state is State.READY


async def test_after_suspend_new_connections_are_used_and_the_folders_are_rescanned(harness: ClockHarness) -> None:
    await harness.pipeline.client.health()
    former = harness.pipeline.client._pool._generation
    harness.clock.set_s = 8 * HOUR_S  # the monotonic clock stops during suspend
    assert await harness.check()
    assert harness.pipeline.client._pool._generation is not former
    assert former is not None
    assert not former.client._transport._connections
    assert harness.rescans == ["rescan"]


async def test_after_suspend_an_open_breaker_probes_immediately(harness: ClockHarness) -> None:
    pipeline = harness.pipeline
    pipeline.sploot.always["check"] = pipeline.sploot.always["upload"] = disconnect
    for number in range(8):
        await pipeline.take(await pipeline.add(f"{number}.jpg"))
        if pipeline.admission.breaker.state is CircuitState.OPEN:
            break
    assert pipeline.admission.state == "unreachable"
    pipeline.sploot.always.clear()
    harness.clock.set_s = HOUR_S
    assert await harness.check()
    await pipeline.store.queue.make_due(now=harness.clock.now())
    new = await pipeline.add("new.jpg", priority=Priority.URGENT)  # the others may be in its shard
    item = await pipeline.take(new)  # although 30 s of monotonic time have not passed
    assert item.state is not State.PENDING
    assert pipeline.admission.breaker.state is CircuitState.CLOSED


async def test_a_rate_limit_that_ended_during_suspend_is_over(harness: ClockHarness) -> None:
    harness.pipeline.admission.record_error(RateLimited("wait", retry_after_s=HOUR_S), item_id=1, content=b"x")
    assert harness.pipeline.admission.state == "rate_limited"
    harness.clock.set_s = 2 * HOUR_S
    assert await harness.check()
    assert harness.pipeline.admission.state == "ok"


async def test_a_stopped_process_detects_the_stall(harness: ClockHarness) -> None:
    """Both clocks continued, but no check ran."""
    harness.clock.ahead_s += IDLE_WAKE_S + 2 * STALL_THRESHOLD_S
    assert await harness.check()
    assert harness.rescans == ["rescan"]


async def test_on_another_network_connections_are_replaced_and_an_open_breaker_may_probe(harness: ClockHarness) -> None:
    await harness.pipeline.client.check(bytes(32))
    former = harness.pipeline.client._pool._generation
    harness.pipeline.admission.breaker.trip(harness.clock.monotonic())
    await harness.monitor.run_once()
    assert harness.pipeline.client._pool._generation is former  # nothing has changed
    harness.routes.add("wlan0 00000000 0102A8C0")
    await harness.monitor.run_once()
    assert harness.pipeline.client._pool._generation is not former
    async with harness.pipeline.admission.acquire():
        assert harness.pipeline.admission.breaker.state is CircuitState.HALF_OPEN


def test_the_routes_are_the_kernels_without_their_counters(tmp_path: Path) -> None:
    table = tmp_path / "route"
    table.write_text("Iface Destination Gateway Flags RefCnt Use\neth0 00000000 0101A8C0 0003 0 7\n")
    assert read_routes(table) == {"eth0 00000000 0101A8C0"}
    assert read_routes(tmp_path / "none") == frozenset()
