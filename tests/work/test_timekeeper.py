"""Sleep, and clocks that are set: what waits is due in time, old lines are not used, and nothing else is upset."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from scripted import dropping
from walkkit import JumpClock, Walk, jpeg, walking

from splootd.clock import BEAT_S
from splootd.core.breaker import Mood
from splootd.core.fault import Fault
from splootd.core.item import Priority, State
from splootd.errors import RateLimited
from splootd.work.routes import routes
from splootd.work.timekeeper import JUMP_S, STALL_S, Timekeeper

YEAR_S = 365 * 86_400.0
HOUR_S = 3_600.0


class TwoClocks(JumpClock):
    """The wall clock can be set by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.set_s = 0.0

    def now(self) -> float:
        return super().now() + self.set_s


@dataclass
class House:
    walk: Walk
    clock: TwoClocks
    keeper: Timekeeper
    looks: list[str] = field(default_factory=list)
    ways: set[str] = field(default_factory=set)

    async def upset(self) -> bool:
        return (await self.keeper.run_once()).is_upsetting


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with walking(tmp_path) as walk:
        clock, looks, ways = TwoClocks(), list[str](), {"wlan0 00000000 0101A8C0"}
        for each in (walk, walk.gate, walk.uploader, walk.tracker):
            if hasattr(each, "clock"):
                each.clock = clock
            if hasattr(each, "_clock"):
                each._clock = clock
        keeper = Timekeeper(
            walk.store.queue,
            walk.server,
            walk.gate,
            clock=clock,
            bells=walk.store.bells,
            settle_s=2.0,
            look_again=lambda: looks.append("look"),
            ways=lambda: frozenset(ways),
        )
        house = House(walk, clock, keeper, looks, ways)
        assert not await house.upset()
        yield house


async def delayed(house: House) -> int:
    item_id = await house.walk.add("a.jpg")
    leased = await house.walk.store.claim(item_id, now=house.clock.now())
    next_at = house.clock.now() + 30.0
    await house.walk.store.queue.retry(
        leased, fault=Fault.SERVER_FAULT, reason="500", next_at=next_at, now=house.clock.now()
    )
    return item_id


async def test_time_that_goes_by_upsets_nothing(house: House) -> None:
    await delayed(house)
    for seconds in (1.0, BEAT_S, BEAT_S + STALL_S / 2):
        house.clock.ahead_s += seconds
        assert not await house.upset()
    house.clock.set_s += JUMP_S / 2  # slewed, or leapt by a second
    assert not await house.upset()
    assert house.looks == []


@pytest.mark.parametrize("set_s", [-YEAR_S, -HOUR_S, -JUMP_S - 1])
async def test_when_the_clock_is_set_back_what_waits_is_due_in_time(house: House, set_s: float) -> None:
    item_id = await delayed(house)
    house.clock.set_s = set_s
    assert await house.upset()
    next_at = (await house.walk.store.item(item_id)).next_at
    assert next_at is None or next_at - house.clock.now() <= 60.0
    assert house.looks == ["look"]
    assert not await house.upset()  # once


async def test_when_the_clock_is_set_forward_nothing_is_lost(house: House) -> None:
    item_id = await delayed(house)
    house.clock.set_s = YEAR_S
    assert await house.upset()
    assert await house.walk.store.queue.promote(now=house.clock.now()) == 1
    assert (await house.walk.take(item_id)).state is State.EMBEDDING


async def test_at_the_start_what_an_earlier_clock_has_put_off_is_due(house: House) -> None:
    item_id = await delayed(house)
    house.clock.set_s = -YEAR_S
    await house.keeper._bound()
    assert (await house.walk.store.item(item_id)).next_at is None


async def test_what_is_embedding_is_asked_about_after_the_clock_was_set_back(house: House) -> None:
    item = await house.walk.take(await house.walk.add("a.jpg", jpeg("a")))
    assert item.state is State.EMBEDDING
    house.clock.set_s = -YEAR_S
    assert await house.upset()
    await house.walk.tracker.run_once()
    assert (await house.walk.store.item(item.id)).state is State.READY


async def test_after_a_sleep_fresh_lines_are_used_and_the_folders_are_checked(house: House) -> None:
    await house.walk.server.health()
    lines = house.walk.server._control._pool
    house.clock.set_s = 8 * HOUR_S  # the running clock stands still meanwhile
    assert await house.upset()
    assert house.walk.server._control._pool is not lines
    assert not lines.client._lines
    assert house.looks == ["look"]


async def test_after_a_sleep_an_open_breaker_probes_at_once(house: House) -> None:
    walk = house.walk
    walk.sploot.always["check"] = dropping
    for number in range(8):
        await walk.take(await walk.add(f"{number}.jpg"))
        if walk.gate.breaker.mood is Mood.OPEN:
            break
    assert walk.gate.state == "unreachable"
    del walk.sploot.always["check"]
    house.clock.set_s = HOUR_S
    assert await house.upset()
    await walk.store.queue.promote(now=house.clock.now())
    new = await walk.add("new.jpg", priority=Priority.URGENT)  # the others may be in its shard
    item = await walk.take(new)  # 30 s of running time have not gone by
    assert item.state is not State.PENDING
    assert walk.gate.breaker.mood is Mood.CLOSED


async def test_patience_that_was_slept_away_has_ended(house: House) -> None:
    house.walk.gate.failed(RateLimited("wait", retry_after_s=HOUR_S), item_id=1, content=b"x")
    assert house.walk.gate.state == "rate_limited"
    house.clock.set_s = 2 * HOUR_S
    assert await house.upset()
    assert house.walk.gate.state == "ok"


async def test_a_process_that_was_stopped_notices(house: House) -> None:
    """Both clocks went on, but nobody looked."""
    house.clock.ahead_s += BEAT_S + 2 * STALL_S
    assert await house.upset()
    assert house.looks == ["look"]


async def test_on_another_network_lines_are_made_anew_and_an_open_breaker_may_probe(house: House) -> None:
    former = house.walk.server._uploads._pool
    house.walk.gate.breaker.exhausted(house.clock.monotonic())
    await house.keeper.run_once()
    assert house.walk.server._uploads._pool is former  # nothing has changed
    house.ways.add("wlan0 00000000 0102A8C0")
    await house.keeper.run_once()
    assert house.walk.server._uploads._pool is not former
    async with house.walk.gate.passage():
        assert house.walk.gate.breaker.mood is Mood.HALF_OPEN


def test_the_routes_are_those_of_the_kernel_without_their_counters(tmp_path: Path) -> None:
    table = tmp_path / "route"
    table.write_text("Iface Destination Gateway Flags RefCnt Use\neth0 00000000 0101A8C0 0003 0 7\n")
    assert routes(table) == {"eth0 00000000 0101A8C0"}
    assert routes(tmp_path / "none") == frozenset()
