"""The metrics, the report and the bottleneck over the control socket; and the port for Prometheus."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from controlled import LIMIT_S, House, controlled
from prometheus_client.parser import text_string_to_metric_families

from splootd.control.scrape import Scrape
from splootd.protocol import Bump, Changed, GetReport, GetStatus, Report, Slow, Status, WhySlow


@pytest_asyncio.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with controlled(tmp_path) as house:
        yield house


def value(told: str, name: str, **labels: str) -> float:
    samples = (sample for family in text_string_to_metric_families(told) for sample in family.samples)
    (found,) = [sample.value for sample in samples if sample.name == name and sample.labels == labels]
    return float(found)


async def told(house: House) -> str:
    raw = await house.raw(b"GET /v1/metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    head, _, body = raw.partition(b"\r\n\r\n")
    assert b" 200 " in head.splitlines()[0]
    assert b"content-type: text/plain; version=0.0.4; charset=utf-8" in head.lower()
    return body.decode()


async def test_the_socket_tells_prometheus_what_the_queue_holds(house: House):
    await house.add("a.png", "b.png")
    text = await told(house)
    assert value(text, "sploot_queue_items", state="pending", priority="normal") == 2
    assert value(text, "sploot_queue_items", state="ready", priority="normal") == 0
    assert value(text, "sploot_breaker_state", state="closed") == 1
    assert value(text, "sploot_memory_bytes") > 1_000_000
    house.parts.gate.pause()
    assert value(await told(house), "sploot_paused") == 1


async def test_metrics_hold_no_name_of_a_file(house: House):
    await house.add("secret.png")
    assert "secret" not in await told(house)


async def test_the_report_has_uploads_calls_memory_and_errors(house: House):
    house.parts.server.calls.observe("check", "ok", 0.2)
    house.parts.server.calls.observe("check", "unreachable", 0.4)
    house.parts.traffic.faults["unreachable"] += 1
    with house.parts.traffic.transfer(b"/a.png", 10, retries=1) as transfer:
        transfer.progress(10)
    report = await house.ask(GetReport(), Report)
    (call,), (upload,) = report.calls, report.uploads
    assert (call.call, call.count, call.errors, call.outcomes) == ("check", 2, 1, {"ok": 1, "unreachable": 1})
    assert (call.p50_s, call.p99_s) == (0.2, 0.4)
    assert call.buckets is not None
    assert {bound: call.buckets[bound] for bound in ("0.01", "0.1", "0.25", "0.5", "10.0")} == {
        "0.01": 0,
        "0.1": 0,
        "0.25": 1,
        "0.5": 2,
        "10.0": 2,
    }
    assert (upload.path, upload.size, upload.sent_bytes, upload.pieces, upload.retries) == ("/a.png", 10, 10, 1, 1)
    assert report.errors == {"unreachable": 1}
    assert report.memory.peak_bytes >= report.memory.now_bytes > 1_000_000


async def test_a_bump_is_a_wish_whose_wait_is_measured(house: House):
    added = await house.add("a.png")
    (number,) = (await house.ask(Bump((str(added.paths[0].item),)), Changed)).ids
    item = await house.parts.listing.item(number)
    assert item is not None
    house.parts.traffic.waits.claimed(item, house.parts.clock.now() + 5)
    assert (await house.ask(GetReport(), Report)).urgent_wait["count"] == 1


async def test_why_it_is_slow_is_answered(house: House):
    assert (await house.ask(WhySlow(), Slow)).cause == "nothing_to_do"
    await house.add("a.png")
    house.parts.gate.pause()
    slow = await house.ask(WhySlow(), Slow)
    assert (slow.cause, slow.helps, slow.numbers["pending"]) == ("paused", "sploot resume", 1)


async def test_what_slows_the_sending_is_in_the_status(house: House):
    house.parts.gate.remark = "the server is behind"
    assert (await house.ask(GetStatus(), Status)).server.detail == "the server is behind"


class Port:
    """A port that tells metrics, and whoever asks there."""

    def __init__(self) -> None:
        self.scrape = Scrape(0, self.metrics)

    async def metrics(self) -> str:
        return "sploot_paused 0\n"

    async def ask(self, head: str) -> str:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.scrape.port)
        async with asyncio.timeout(LIMIT_S):
            writer.write(head.encode())
            answer = await reader.read()
        writer.close()
        return answer.decode()


@pytest_asyncio.fixture
async def port() -> AsyncIterator[Port]:
    port = Port()
    serving = asyncio.create_task(port.scrape.run())
    await port.scrape.bound.wait()
    yield port
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)


async def test_the_port_answers_prometheus(port: Port):
    for path in ("/metrics", "/v1/metrics"):
        answer = await port.ask(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port.scrape.port}\r\n\r\n")
        assert answer.startswith("HTTP/1.1 200 OK\r\n")
        assert answer.endswith("\r\n\r\nsploot_paused 0\n")


@pytest.mark.parametrize(
    ("head", "status"),
    [
        ("GET /v1/status HTTP/1.1\r\nHost: localhost:1", 404),
        ("POST /metrics HTTP/1.1\r\nHost: localhost:1", 405),
        ("GET /metrics HTTP/1.1\r\nHost: evil.example:1", 403),
        ("GET /metrics HTTP/1.1\r\nHost: localhost:1\r\nOrigin: http://evil.example", 403),
        ("nonsense", 403),
    ],
)
async def test_the_port_tells_nothing_else_and_nobody_else(port: Port, head: str, status: int):
    assert (await port.ask(f"{head}\r\n\r\n")).startswith(f"HTTP/1.1 {status} ")


async def test_a_head_without_an_end_is_hung_up_on(port: Port):
    assert await port.ask("GET / HTTP/1.1\r\n" + "x: y\r\n" * 10_000) == ""


async def test_a_port_that_is_taken_needs_the_user_and_stops_nothing(port: Port):
    other = Scrape(port.scrape.port, port.metrics)
    await other.run()
    (need,) = other.needs()
    assert str(port.scrape.port) in need.what
    assert port.scrape.needs() == ()
