"""Probes and metrics for operators."""

import asyncio
import shutil
from dataclasses import replace

import httpx
import promtool
from prometheus_client.parser import text_string_to_metric_families
from sploot_server.app import create_app
from sploot_server.config import Config
from sploot_server.http.metrics import CurrentState, Metrics
from sploot_server.library.embedding_jobs import JOBS_PER_THREAD
from sploot_server.measurements import BUCKETS_S, LIMITS
from toy_library import FakeEmbedder, picture


async def values(client: httpx.AsyncClient) -> dict[str, float]:
    """Return every sample by its name and labels."""
    answer = await client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    samples = [each for family in text_string_to_metric_families(answer.text) for each in family.samples]
    return {f"{each.name}{sorted(each.labels.values())}": each.value for each in samples}


async def test_a_healthy_server_is_live_and_ready(client: httpx.AsyncClient) -> None:
    assert (await client.get("/api/health/live")).json() == {"status": "ok"}
    ready = await client.get("/api/health/ready")
    assert (ready.status_code, ready.json()) == (200, {"status": "ok", "checks": {"database": True, "blobs": True}})


async def test_a_server_that_cannot_store_files_is_live_but_not_ready(
    client: httpx.AsyncClient, config: Config
) -> None:
    shutil.rmtree(config.data / "incoming")
    ready = await client.get("/api/health/ready")
    assert (ready.status_code, ready.json()["checks"]) == (503, {"database": True, "blobs": False})
    assert (await client.get("/api/health/live")).status_code == 200


async def test_requests_are_counted_by_route_and_status(client: httpx.AsyncClient) -> None:
    for _ in range(3):
        await client.get("/api/assets/nobody")
    await client.get("/api/assets")
    seen = await values(client)
    assert seen["sploot_server_requests_total['/api/assets/{id}', '404', 'GET']"] == 3
    assert seen["sploot_server_requests_total['/api/assets', '200', 'GET']"] == 1
    assert seen["sploot_server_request_seconds_count['/api/assets/{id}']"] == 3
    assert seen["sploot_server_request_seconds_bucket['+Inf', '/api/assets/{id}']"] == 3


async def test_promtool_accepts_the_metrics(client: httpx.AsyncClient) -> None:
    await client.get("/api/assets")
    promtool.check((await client.get("/metrics")).text)


async def test_clients_cannot_create_new_series(client: httpx.AsyncClient) -> None:
    await client.get("/metrics")
    await client.get("/nonsense/0")
    await client.request("DANCE", "/nonsense/0")
    before = len(await values(client))
    for number in range(50):
        await client.get(f"/nonsense/{number}")
        await client.request(f"DANCE{number}", "/nonsense/0")
    assert len(await values(client)) == before


async def test_embeddings_are_counted_by_state(
    config: Config, client: httpx.AsyncClient, embedder: FakeEmbedder
) -> None:
    embedder.hold = asyncio.Event()
    files = {"file": ("a.jpg", picture("a cat"), "image/jpeg")}
    asset = (await client.post("/api/upload", files=files)).json()["asset"]["id"]
    assert (await values(client))["sploot_server_embeddings['ready']"] == 0
    embedder.hold.set()
    await client.post(f"/api/assets/{asset}/generate-embedding")
    seen = await values(client)
    assert [seen[f"sploot_server_embeddings['{state}']"] for state in ("pending", "processing", "ready", "failed")] == [
        0,
        0,
        1,
        0,
    ]


def test_a_time_is_counted_in_the_bucket_that_includes_it() -> None:
    metrics = Metrics()
    for took_s in (BUCKETS_S[0], BUCKETS_S[0] + 0.001, 100.0):
        metrics.record_request("GET", "/x", 200, took_s)
    counts = [
        sample.value
        for family in text_string_to_metric_families(metrics.render(CurrentState()).decode())
        for sample in family.samples
        if sample.name.endswith("_bucket") and sample.labels["route"] == "/x"
    ]
    assert counts == [1] + [2] * (len(BUCKETS_S) - 1) + [3]


def test_two_servers_in_one_process_count_separately() -> None:
    busy, idle = Metrics(), Metrics()
    busy.record_request("GET", "/x", 200, 0.1)
    assert (b"/x" in busy.render(CurrentState()), b"/x" in idle.render(CurrentState())) == (True, False)


async def test_the_age_of_the_oldest_job_and_the_disk_are_measured(
    config: Config, client: httpx.AsyncClient, embedder: FakeEmbedder
) -> None:
    before = await values(client)
    assert (before["sploot_server_oldest_job_seconds[]"], before["sploot_server_workers[]"]) == (0, 1)
    usage = shutil.disk_usage(config.data)
    assert before["sploot_server_disk_size_bytes['data']"] == usage.total
    assert 0 < before["sploot_server_disk_free_bytes['data']"] <= usage.total
    embedder.hold = asyncio.Event()
    for number in range(embedder.threads * JOBS_PER_THREAD + 1):  # one more than a claim
        files = {"file": ("a.jpg", picture(f"cat {number}"), "image/jpeg")}
        await client.post("/api/upload", files=files)
    first = (await values(client))["sploot_server_oldest_job_seconds[]"]
    assert (await values(client))["sploot_server_oldest_job_seconds[]"] >= first > 0
    embedder.hold.set()


async def test_a_refusal_is_counted_by_the_name_of_its_limit(config: Config, embedder: FakeEmbedder) -> None:
    config.data.mkdir()
    async with (
        create_app(replace(config, requests_max=0), embedder) as app,
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client,
    ):
        assert (await client.get("/api/assets")).status_code == 503
        seen = await values(client)
        assert seen["sploot_server_limit_hits_total['requests']"] == 1
        others = [seen[f"sploot_server_limit_hits_total['{limit}']"] for limit in LIMITS if limit != "requests"]
        assert others == [0] * len(others)


async def test_metrics_tell_which_backend_is_down(client: httpx.AsyncClient, config: Config) -> None:
    shutil.rmtree(config.data / "incoming")
    seen = await values(client)
    assert [seen[f"sploot_server_backend_up['{each}']"] for each in ("database", "blobs")] == [1, 0]
