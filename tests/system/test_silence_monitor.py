"""Silence of the server: requests that wait make the daemon ask aside, and any response ends the silence."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from pipeline_fixtures import PipelineHarness, open_pipeline
from scripted_sploot import disconnect, hold, reply_with

from splootd.remote import silence
from splootd.system import silence_monitor
from splootd.system.silence_monitor import SilenceMonitor

NOTICE_S = 0.05
TIMEOUT_S = 30


@pytest.fixture
async def pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[PipelineHarness]:
    """A pipeline whose monitor asks after 0.05 s."""
    monkeypatch.setattr(silence, "NOTICE_S", NOTICE_S)
    monkeypatch.setattr(silence_monitor, "NOTICE_S", NOTICE_S)
    monkeypatch.setattr(silence_monitor, "FAILED_DELAYS_S", (NOTICE_S,))
    async with open_pipeline(tmp_path) as pipeline, asyncio.timeout(TIMEOUT_S):
        yield pipeline


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - time itself is what changes
        await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def running_monitor(pipeline: PipelineHarness) -> AsyncIterator[None]:
    monitor = asyncio.create_task(SilenceMonitor(pipeline.client, pipeline.admission).run())
    try:
        yield
    finally:
        monitor.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await monitor


async def test_the_state_is_known_before_the_first_upload(pipeline: PipelineHarness) -> None:
    assert not pipeline.client.silence.has_responded
    async with running_monitor(pipeline):
        await pipeline.sploot.until(lambda sploot: sploot.count("limits") == 1)
        await until(lambda: pipeline.client.silence.has_responded)
    assert pipeline.admission.state == "ok"


async def test_a_response_to_the_health_request_ends_the_silence_of_a_slow_request(pipeline: PipelineHarness) -> None:
    """One request that takes long does not make the server silent."""
    pipeline.sploot.script("limits", hold(pipeline.sploot, asyncio.Event()))
    async with running_monitor(pipeline):
        for number in range(1, 4):
            await pipeline.sploot.until(lambda sploot, number=number: sploot.count("health") == number)
            await until(lambda: pipeline.client.silence.seconds < NOTICE_S)
    assert pipeline.admission.state == "ok"


async def test_an_upload_waits_for_its_response_once_its_body_is_sent(pipeline: PipelineHarness) -> None:
    release = asyncio.Event()
    pipeline.sploot.always["health"] = hold(pipeline.sploot, release)
    pipeline.sploot.script("upload", hold(pipeline.sploot, release))
    item = await pipeline.add("large.jpg", b"\xff\xd8\xff\xe0" + bytes(700_000) + b"\xff\xd9")
    async with running_monitor(pipeline):
        upload = asyncio.create_task(pipeline.take(item))
        await pipeline.sploot.until(lambda sploot: sploot.count("health") == 1)
        await until(lambda: pipeline.client.silence.seconds >= 2 * NOTICE_S)
        release.set()
        await upload
        assert pipeline.client.silence.seconds < NOTICE_S


async def test_a_refused_health_request_makes_the_server_unreachable_and_a_response_ends_it(
    pipeline: PipelineHarness,
) -> None:
    pipeline.sploot.script("limits", reply_with(500, {}))
    pipeline.sploot.always["limits"] = hold(pipeline.sploot, asyncio.Event())
    pipeline.sploot.script("health", disconnect, disconnect)
    async with running_monitor(pipeline):
        await pipeline.admission.changed.wait(pipeline.admission.changed.snapshot(), None)
        assert pipeline.admission.state == "unreachable"
        await pipeline.sploot.until(lambda sploot: sploot.count("health") >= 3)
        await until(lambda: pipeline.admission.state == "ok")


async def test_a_timed_out_request_does_not_end_the_silence(pipeline: PipelineHarness) -> None:
    pipeline.sploot.always["limits"] = hold(pipeline.sploot, asyncio.Event())
    limits = asyncio.create_task(pipeline.client.limits())
    await until(lambda: pipeline.client.silence.seconds >= 2 * NOTICE_S)
    limits.cancel()
    await asyncio.gather(limits, return_exceptions=True)
    assert pipeline.client.silence.seconds >= 2 * NOTICE_S
    assert pipeline.client.silence.is_waiting.is_set()
    await pipeline.client.health(aside=True)
    assert pipeline.client.silence.seconds == 0
