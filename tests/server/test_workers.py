"""Supervision of worker processes, tested with the small query worker."""

import asyncio
import os
import signal

import pytest
from sploot_server.domain.embedding import EmbedderUnavailable, WorkerCrashed
from sploot_server.inference.worker_pool import WorkerSupervisor

pytestmark = pytest.mark.models

QUERY = {"embed_query": "where is my cat"}


async def test_a_worker_starts_on_demand_and_stops_when_idle() -> None:
    worker = WorkerSupervisor([], idle_s=0.05)
    assert "text" in await worker.send_request(QUERY, 30)
    process = worker._running
    assert process is not None
    async with asyncio.timeout(30):
        assert await process._process.wait() == 0
    assert "text" in await worker.send_request(QUERY, 30)
    assert worker._running is not process
    await worker.stop()


async def test_a_worker_serves_concurrent_requests() -> None:
    worker = WorkerSupervisor([], idle_s=30)
    responses = await asyncio.gather(
        *(worker.send_request({"embed_query": f"cat {number % 3}"}, 30) for number in range(30))
    )
    assert len({response["text"] for response in responses}) == 3
    assert len({response["id"] for response in responses}) == 30
    await worker.stop()


async def test_a_timeout_is_attributed_to_the_request_that_timed_out() -> None:
    worker = WorkerSupervisor([], idle_s=30)
    await worker.send_request(QUERY, 30)
    other = asyncio.create_task(worker.send_request({"embed_query": "word " * 20_000}, 60))
    await asyncio.sleep(0)
    with pytest.raises(WorkerCrashed) as timed_out:
        await worker.send_request(QUERY, 0.0)
    with pytest.raises(WorkerCrashed) as crashed:
        await other
    assert (timed_out.value.is_isolated, crashed.value.is_isolated) == (True, False)
    assert "text" in await worker.send_request(QUERY, 30)
    await worker.stop()


async def test_a_crash_is_attributed_to_a_request_only_if_it_was_the_only_one() -> None:
    worker = WorkerSupervisor([], idle_s=30)
    await worker.send_request(QUERY, 30)
    for count in (1, 3):
        requests = [
            asyncio.create_task(worker.send_request({"embed_query": "word " * 20_000}, 60)) for _ in range(count)
        ]
        await asyncio.sleep(0)
        assert worker._running is not None
        os.kill(worker._running._process.pid, signal.SIGKILL)
        results = await asyncio.gather(*requests, return_exceptions=True)
        assert [isinstance(each, WorkerCrashed) and each.is_isolated for each in results] == [count == 1] * count
        await worker.send_request(QUERY, 30)
    await worker.stop()


async def test_a_worker_that_does_not_start_is_unavailable() -> None:
    worker = WorkerSupervisor(["--no-such-option"], idle_s=30)
    with pytest.raises(EmbedderUnavailable, match="did not start"):
        await worker.send_request(QUERY, 30)
    await worker.stop()


async def test_an_unsupported_request_is_an_error_and_does_no_harm() -> None:
    worker = WorkerSupervisor([], idle_s=30)
    response = await worker.send_request({"analyze": "/etc/passwd"}, 30)
    assert response["error"] == "ValueError: This worker does not support the request."
    assert "text" in await worker.send_request(QUERY, 30)
    await worker.stop()
