"""Worker processes seen from the server. The small one, for queries, stands for both."""

import asyncio
import os
import signal

import pytest
from sploot_server.embedding import Lost, Unavailable
from sploot_server.workers import Worker

pytestmark = pytest.mark.models

QUERY = {"query": "where is my cat"}


async def test_a_worker_starts_on_demand_and_rests_when_idle() -> None:
    worker = Worker([], idle_s=0.05)
    assert "text" in await worker.ask(QUERY, 30)
    process = worker._running
    assert process is not None
    async with asyncio.timeout(30):
        assert await process._process.wait() == 0
    assert "text" in await worker.ask(QUERY, 30)
    assert worker._running is not process
    await worker.stop()


async def test_many_ask_one_worker_at_once() -> None:
    worker = Worker([], idle_s=30)
    answers = await asyncio.gather(*(worker.ask({"query": f"cat {number % 3}"}, 30) for number in range(30)))
    assert len({answer["text"] for answer in answers}) == 3
    assert len({answer["id"] for answer in answers}) == 30
    await worker.stop()


async def test_what_takes_too_long_is_lost_and_to_blame() -> None:
    worker = Worker([], idle_s=30)
    await worker.ask(QUERY, 30)
    patient = asyncio.create_task(worker.ask({"query": "word " * 20_000}, 60))
    await asyncio.sleep(0)
    with pytest.raises(Lost) as hasty:
        await worker.ask(QUERY, 0.0)
    with pytest.raises(Lost) as innocent:
        await patient
    assert (hasty.value.alone, innocent.value.alone) == (True, False)
    assert "text" in await worker.ask(QUERY, 30)
    await worker.stop()


async def test_a_crash_is_blamed_on_who_was_alone() -> None:
    worker = Worker([], idle_s=30)
    await worker.ask(QUERY, 30)
    for company in (1, 3):
        asked = [asyncio.create_task(worker.ask({"query": "word " * 20_000}, 60)) for _ in range(company)]
        await asyncio.sleep(0)
        assert worker._running is not None
        os.kill(worker._running._process.pid, signal.SIGKILL)
        lost = await asyncio.gather(*asked, return_exceptions=True)
        assert [isinstance(each, Lost) and each.alone for each in lost] == [company == 1] * company
        await worker.ask(QUERY, 30)
    await worker.stop()


async def test_a_worker_that_does_not_start_is_unavailable() -> None:
    worker = Worker(["--no-such-option"], idle_s=30)
    with pytest.raises(Unavailable, match="did not start"):
        await worker.ask(QUERY, 30)
    await worker.stop()


async def test_a_request_it_does_not_know_is_an_error_and_no_harm() -> None:
    worker = Worker([], idle_s=30)
    assert (await worker.ask({"read": "/etc/passwd"}, 30))["error"] == "ValueError: This worker does not do that."
    assert "text" in await worker.ask(QUERY, 30)
    await worker.stop()
