"""The bandwidth limiter: delays follow the limit, and uploads under a limit arrive unchanged."""

import asyncio
import os
from datetime import datetime
from pathlib import Path

import pytest
from file_reading import read
from pipeline_fixtures import jpeg
from scripted_sploot import ScriptedSploot

from splootd.clock import Clock
from splootd.core.limits import Limits
from splootd.core.timetable import parse
from splootd.credentials import Credentials
from splootd.errors import Unreachable
from splootd.file_reader import SEND_BYTES, MemoryBudget, stat_version
from splootd.remote.bandwidth_limiter import BandwidthLimiter
from splootd.remote.client import SplootClient

LIMITS = Limits(100_000_000, frozenset({"image/jpeg"}))


class SleepClock(Clock):
    """A clock that advances only by sleeping."""

    def __init__(self, hour: int) -> None:
        self.begin = datetime(2026, 5, 4, hour).astimezone().timestamp()
        self.slept_s = 0.0

    def now(self) -> float:
        return self.begin + self.slept_s

    def monotonic(self) -> float:
        return self.slept_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SleepClock:
    clock = SleepClock(hour=12)

    async def sleep(seconds: float) -> None:
        clock.slept_s += seconds

    monkeypatch.setattr("splootd.remote.bandwidth_limiter.asyncio.sleep", sleep)
    return clock


async def test_sending_takes_the_time_of_the_limit(clock: SleepClock):
    limiter = BandwidthLimiter(parse("100k"), clock)
    piece = bytes(1_000_000)
    parts = [part async for part in limiter.iter_throttled(piece)]
    assert b"".join(parts) == piece
    assert max(map(len, parts)) == 25_000
    assert clock.slept_s == limiter.throttled_s == pytest.approx((1_000_000 - 25_000) / 100_000)


async def test_without_a_limit_nothing_waits(clock: SleepClock):
    limiter = BandwidthLimiter(parse(""), clock)
    await limiter.acquire(10**12)
    assert [part async for part in limiter.iter_throttled(b"abc")] == [b"abc"]
    assert (clock.slept_s, limiter.throttled_s, limiter.rate) == (0, 0, None)


async def test_the_limit_depends_on_the_hour(clock: SleepClock):
    limiter = BandwidthLimiter(parse("08:00-13:00=100k,else=1M"), clock)
    assert limiter.rate == 100_000
    clock.slept_s = 2 * 3600.0
    assert limiter.rate == 1_000_000
    await limiter.acquire(1_250_000)
    assert limiter.throttled_s == pytest.approx(1.0)


async def test_a_limit_that_ends_while_waiting_no_longer_delays(clock: SleepClock):
    limiter = BandwidthLimiter(parse("00:00-12:01=32k,else=none"), clock)
    await limiter.acquire(10**9)
    assert 60 <= clock.slept_s < 62


@pytest.mark.parametrize("size", [SEND_BYTES // 2, 5 * SEND_BYTES // 2])
async def test_an_upload_under_a_limit_arrives_unchanged(tmp_path: Path, size: int):
    sploot, content = ScriptedSploot(), jpeg("a", size)
    (tmp_path / "a.jpg").write_bytes(content)
    path, clock = os.fsencode(tmp_path / "a.jpg"), Clock()
    async with sploot.serve() as url:
        limiter = BandwidthLimiter(parse("2M"), clock)
        client = SplootClient(
            url, credentials=Credentials(tmp_path / "t", clock), connections=4, bandwidth_limiter=limiter
        )
        sent: list[int] = []
        async with read(path, stat_version(path), budget=MemoryBudget(100_000_000), limits=LIMITS) as it:
            stored = await client.upload(it, on_progress=sent.append)
        await client.close()
    assert stored.asset_id
    assert sent[-1] == size
    assert (limiter.throttled_s > 0) == (size > 500_000)  # the burst is a quarter of a second


async def test_each_call_is_recorded_under_its_name(tmp_path: Path):
    sploot, credentials = ScriptedSploot(), Credentials(tmp_path / "t", Clock())
    async with sploot.serve() as url:
        client = SplootClient(url, credentials=credentials, connections=4)
        await client.limits()
        await client.check(bytes(32))
        await client.check(bytes(32))
        await client.close()
    assert {name: dict(call.outcomes) for name, call in client.calls.by_endpoint.items()} == {
        "limits": {"ok": 1},
        "check": {"ok": 2},
    }
    assert client.calls["check"].seconds.sum > 0


async def test_failed_calls_are_counted_by_error_code_and_cancelled_ones_too(tmp_path: Path):
    client = SplootClient("http://127.0.0.1:9", credentials=Credentials(tmp_path / "t", Clock()), connections=4)
    with pytest.raises(Unreachable):
        await client.check(bytes(32))
    cancelled = asyncio.create_task(client.check(bytes(32)))
    await asyncio.sleep(0)
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    await client.close()
    assert dict(client.calls["check"].outcomes) == {"unreachable": 1, "cancelled": 1}
