"""The metrics, the report and the bottleneck over the control socket; and the port for Prometheus."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from control_fixtures import LIMIT_S, ControlApi, serve_control_api
from prometheus_client.parser import text_string_to_metric_families

from splootd.control.prometheus_server import PrometheusServer
from splootd.protocol import Bottleneck, Bump, ChangeReply, GetBottleneck, GetReport, GetStatus, Report, Status


@pytest_asyncio.fixture
async def control_api(tmp_path: Path) -> AsyncIterator[ControlApi]:
    async with serve_control_api(tmp_path) as control_api:
        yield control_api


def value(text: str, name: str, **labels: str) -> float:
    samples = (sample for family in text_string_to_metric_families(text) for sample in family.samples)
    (number,) = [sample.value for sample in samples if sample.name == name and sample.labels == labels]
    return float(number)


async def fetch_metrics(control_api: ControlApi) -> str:
    raw = await control_api.raw(b"GET /v1/metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    head, _, body = raw.partition(b"\r\n\r\n")
    assert b" 200 " in head.splitlines()[0]
    assert b"content-type: text/plain; version=0.0.4; charset=utf-8" in head.lower()
    return body.decode()


async def test_the_control_api_serves_prometheus_metrics(control_api: ControlApi):
    await control_api.add("a.png", "b.png")
    text = await fetch_metrics(control_api)
    assert value(text, "sploot_queue_items", state="pending", priority="normal") == 2
    assert value(text, "sploot_queue_items", state="ready", priority="normal") == 0
    assert value(text, "sploot_breaker_state", state="closed") == 1
    assert value(text, "sploot_memory_bytes") > 1_000_000
    control_api.context.admission.pause()
    assert value(await fetch_metrics(control_api), "sploot_paused") == 1


async def test_metrics_contain_no_file_name(control_api: ControlApi):
    await control_api.add("secret.png")
    assert "secret" not in await fetch_metrics(control_api)


async def test_the_report_has_uploads_calls_memory_and_errors(control_api: ControlApi):
    control_api.context.client.calls.observe("check", "ok", 0.2)
    control_api.context.client.calls.observe("check", "unreachable", 0.4)
    control_api.context.metrics.errors["unreachable"] += 1
    with control_api.context.metrics.transfer(b"/a.png", 10, retries=1) as transfer:
        transfer.record_progress(10)
    report = await control_api.request(GetReport(), Report)
    (call,), (upload,) = report.calls, report.uploads
    assert (call.endpoint, call.count, call.errors, call.outcomes) == ("check", 2, 1, {"ok": 1, "unreachable": 1})
    assert (call.p50_s, call.p99_s) == (0.2, 0.4)
    assert call.buckets is not None
    assert {bound: call.buckets[bound] for bound in ("0.01", "0.1", "0.25", "0.5", "10.0")} == {
        "0.01": 0,
        "0.1": 0,
        "0.25": 1,
        "0.5": 2,
        "10.0": 2,
    }
    assert (upload.path, upload.size, upload.sent_bytes, upload.chunks, upload.retries) == ("/a.png", 10, 10, 1, 1)
    assert report.errors == {"unreachable": 1}
    assert report.memory.peak_bytes >= report.memory.now_bytes > 1_000_000


async def test_the_queue_latency_of_a_bump_is_measured(control_api: ControlApi):
    added = await control_api.add("a.png")
    (number,) = (await control_api.request(Bump((str(added.paths[0].item),)), ChangeReply)).ids
    item = await control_api.context.read_queries.get_item(number)
    assert item is not None
    control_api.context.metrics.urgent_latency.record_claim(item, control_api.context.clock.now() + 5)
    assert (await control_api.request(GetReport(), Report)).urgent_queue_latency["count"] == 1


async def test_the_bottleneck_is_reported(control_api: ControlApi):
    assert (await control_api.request(GetBottleneck(), Bottleneck)).code == "nothing_to_do"
    await control_api.add("a.png")
    control_api.context.admission.pause()
    bottleneck = await control_api.request(GetBottleneck(), Bottleneck)
    assert (bottleneck.code, bottleneck.suggestion, bottleneck.numbers["pending"]) == ("paused", "sploot resume", 1)


async def test_the_slowdown_reason_is_in_the_status(control_api: ControlApi):
    control_api.context.admission.slowdown_reason = "the server is behind"
    assert (await control_api.request(GetStatus(), Status)).server.detail == "the server is behind"


class MetricsPort:
    """A metrics port and a client for it."""

    def __init__(self) -> None:
        self.server = PrometheusServer(0, self.metrics)

    async def metrics(self) -> str:
        return "sploot_paused 0\n"

    async def send(self, head: str) -> str:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.server.port)
        async with asyncio.timeout(LIMIT_S):
            writer.write(head.encode())
            response = await reader.read()
        writer.close()
        return response.decode()


@pytest_asyncio.fixture
async def port() -> AsyncIterator[MetricsPort]:
    port = MetricsPort()
    serving = asyncio.create_task(port.server.run())
    await port.server.bound.wait()
    yield port
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)


async def test_the_port_serves_metrics(port: MetricsPort):
    for path in ("/metrics", "/v1/metrics"):
        response = await port.send(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port.server.port}\r\n\r\n")
        assert response.startswith("HTTP/1.1 200 OK\r\n")
        assert response.endswith("\r\n\r\nsploot_paused 0\n")


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
async def test_the_port_rejects_other_paths_and_web_pages(port: MetricsPort, head: str, status: int):
    assert (await port.send(f"{head}\r\n\r\n")).startswith(f"HTTP/1.1 {status} ")


async def test_an_endless_head_closes_the_connection(port: MetricsPort):
    assert await port.send("GET / HTTP/1.1\r\n" + "x: y\r\n" * 10_000) == ""


async def test_a_taken_port_requires_an_action_and_stops_nothing(port: MetricsPort):
    other = PrometheusServer(port.server.port, port.metrics)
    await other.run()
    (action,) = other.actions_required()
    assert str(port.server.port) in action.what
    assert port.server.actions_required() == ()
