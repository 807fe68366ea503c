"""The limit: what passes when, and that an upload heeds it without changing a byte."""

import asyncio
import os
from datetime import datetime
from pathlib import Path

import pytest
from scripted import Scripted
from walkkit import jpeg

from splootd.clock import Clock
from splootd.core.timetable import parsed
from splootd.credentials import Credentials
from splootd.errors import Unreachable
from splootd.remote.answers import Limits
from splootd.remote.api import Server
from splootd.remote.throttle import Throttle
from splootd.work.files import SEND_BYTES, MemoryBudget, look, read

LIMITS = Limits(100_000_000, frozenset({"image/jpeg"}))


class Slept(Clock):
    """Time that passes only by sleeping."""

    def __init__(self, hour: int) -> None:
        self.begin = datetime(2026, 5, 4, hour).astimezone().timestamp()
        self.slept_s = 0.0

    def now(self) -> float:
        return self.begin + self.slept_s

    def monotonic(self) -> float:
        return self.slept_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Slept:
    clock = Slept(hour=12)

    async def sleep(seconds: float) -> None:
        clock.slept_s += seconds

    monkeypatch.setattr("splootd.remote.throttle.asyncio.sleep", sleep)
    return clock


async def test_bytes_take_the_time_that_the_limit_says(clock: Slept):
    throttle = Throttle(parsed("100k"), clock)
    piece = bytes(1_000_000)
    parts = [part async for part in throttle.parts(piece)]
    assert b"".join(parts) == piece
    assert max(map(len, parts)) == 25_000
    assert clock.slept_s == throttle.held_s == pytest.approx((1_000_000 - 25_000) / 100_000)


async def test_without_a_limit_nothing_waits(clock: Slept):
    throttle = Throttle(parsed(""), clock)
    await throttle.passed(10**12)
    assert [part async for part in throttle.parts(b"abc")] == [b"abc"]
    assert (clock.slept_s, throttle.held_s, throttle.rate) == (0, 0, None)


async def test_the_hour_decides(clock: Slept):
    throttle = Throttle(parsed("08:00-13:00=100k,else=1M"), clock)
    assert throttle.rate == 100_000
    clock.slept_s = 2 * 3600.0
    assert throttle.rate == 1_000_000
    await throttle.passed(1_250_000)
    assert throttle.held_s == pytest.approx(1.0)


async def test_a_limit_that_ends_meanwhile_holds_nobody_any_more(clock: Slept):
    throttle = Throttle(parsed("00:00-12:01=32k,else=none"), clock)
    await throttle.passed(10**9)
    assert 60 <= clock.slept_s < 62


@pytest.mark.parametrize("size", [SEND_BYTES // 2, 5 * SEND_BYTES // 2])
async def test_an_upload_under_a_limit_arrives_as_it_is(tmp_path: Path, size: int):
    sploot, content = Scripted(), jpeg("a", size)
    (tmp_path / "a.jpg").write_bytes(content)
    path, clock = os.fsencode(tmp_path / "a.jpg"), Clock()
    async with sploot.serving() as url:
        throttle = Throttle(parsed("2M"), clock)
        server = Server(url, credentials=Credentials(tmp_path / "t", clock), connections=4, throttle=throttle)
        sent: list[int] = []
        async with read(path, look(path), budget=MemoryBudget(100_000_000), limits=LIMITS) as it:
            stored = await server.upload(it, sent=sent.append)
        await server.close()
    assert stored.asset_id
    assert sent[-1] == size
    assert (throttle.held_s > 0) == (size > 500_000)  # a quarter of a second's worth may go at once


async def test_each_question_is_measured_under_its_name(tmp_path: Path):
    sploot, credentials = Scripted(), Credentials(tmp_path / "t", Clock())
    async with sploot.serving() as url:
        server = Server(url, credentials=credentials, connections=4)
        await server.limits()
        await server.check(bytes(32))
        await server.check(bytes(32))
        await server.close()
    assert {name: dict(call.outcomes) for name, call in server.calls.by_name.items()} == {
        "limits": {"ok": 1},
        "check": {"ok": 2},
    }
    assert server.calls["check"].seconds.sum > 0


async def test_a_question_that_fails_is_counted_by_its_fault_and_one_given_up_too(tmp_path: Path):
    server = Server("http://127.0.0.1:9", credentials=Credentials(tmp_path / "t", Clock()), connections=4)
    with pytest.raises(Unreachable):
        await server.check(bytes(32))
    given_up = asyncio.create_task(server.check(bytes(32)))
    await asyncio.sleep(0)
    given_up.cancel()
    with pytest.raises(asyncio.CancelledError):
        await given_up
    await server.close()
    assert dict(server.calls["check"].outcomes) == {"unreachable": 1, "cancelled": 1}
