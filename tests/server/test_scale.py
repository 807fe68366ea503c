"""Two servers and two workers with one PostgreSQL, one bucket and one Redis, all real processes."""

import asyncio
import contextlib
import hashlib
import json
import os
import random
import statistics
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import postgres
import pytest
import s3
from postgres_cluster import LIMIT_S, Fleet, complete, measure_push_ms, receive_update, upload
from redis_server import RedisServer
from toy_library import picture

STREAM_URL = "/api/sse/embedding-updates"

# Records every state change of an embedding in the database itself.
STATE_HISTORY = """
    CREATE TABLE state_history (asset bigint, state text);
    CREATE FUNCTION record_state() RETURNS trigger LANGUAGE plpgsql AS
      'BEGIN INSERT INTO state_history VALUES (NEW.asset, NEW.state); RETURN NULL; END';
    CREATE TRIGGER records_state AFTER UPDATE OF state ON embeddings FOR EACH ROW EXECUTE FUNCTION record_state();
"""


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fleet]:
    database = postgres.new_database()
    environment = {**s3.server(), "SPLOOT_SERVER_DATABASE": database, "SPLOOT_SERVER_BLOBS": s3.new_prefix()}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    fleet = Fleet(tmp_path, database)
    yield fleet
    fleet.end()


@pytest.fixture
def redis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path)
    monkeypatch.setenv("SPLOOT_SERVER_EVENTS", server.url)
    yield server
    server.kill()


async def test_a_worker_embeds_an_upload_and_all_servers_push_the_update(fleet: Fleet) -> None:
    """Ten clients of two servers receive it; the other server serves the original, whole and in ranges."""
    fleet.serve(0), fleet.serve(1)
    async with fleet.client(0) as here, fleet.client(1) as there, contextlib.AsyncExitStack() as stack:
        asset = await upload(here, "a cat " * 100_000)
        clients = [await stack.enter_async_context(fleet.websocket(number % 2, asset)) for number in range(10)]
        fleet.work(0)
        for each in clients:
            update = await receive_update(each)
            assert (update["assetId"], update["status"]) == (asset, "ready")
        url = (await there.get(f"/api/assets/{asset}")).json()["asset"]["blobUrl"]
        whole = picture("a cat " * 100_000)
        assert (await there.get(url)).content == whole
        part = await there.get(url, headers={"range": "bytes=300000-300009"})
        assert (part.status_code, part.content) == (206, whole[300_000:300_010])
        assert (await there.post("/api/upload", files={"file": ("b.jpg", whole, "image/jpeg")})).status_code == 409


@pytest.fixture(params=["postgres", "redis"])
def relay(request: pytest.FixtureRequest) -> str:
    """Select the event relay between processes; start the fleet after it."""
    if request.param == "redis":
        request.getfixturevalue("redis")
    return str(request.param)


@pytest.mark.usefixtures("relay")
async def test_a_row_completed_by_sql_is_pushed_by_another_process_immediately(fleet: Fleet) -> None:
    """`benchmarks/push_latency.py` measures it; the limit here holds on a busy machine too."""
    fleet.serve(0), fleet.serve(1)
    took_ms = await measure_push_ms(fleet, count=30)
    assert statistics.median(took_ms) < 100


async def test_without_redis_postgresql_relays_events_and_servers_stay_ready(fleet: Fleet, redis: RedisServer) -> None:
    """If readiness failed, a load balancer would remove the server, and with it the library."""
    fleet.serve(0), fleet.serve(1)
    async with fleet.client(0) as here, fleet.client(1) as there, fleet.psql() as psql:
        asset = await upload(here, "a cat")
        async with fleet.websocket(1, asset) as connection:
            await asyncio.to_thread(redis.kill)
            await complete(psql, asset)
            assert (await receive_update(connection))["assetId"] == asset
        ready: dict[str, Any] = {"status": "ok"}
        async with asyncio.timeout(LIMIT_S):
            while ready["status"] == "ok":
                answer = await there.get("/api/health/ready")
                assert answer.status_code == 200
                ready = answer.json()
        assert ready == {"status": "degraded", "checks": {"database": True, "blobs": True, "events": False}}


async def test_a_stream_resumes_at_another_server(fleet: Fleet) -> None:
    fleet.serve(0), fleet.serve(1), fleet.work(0)
    async with fleet.client(0) as here, fleet.client(1) as there:
        async with here.stream("GET", STREAM_URL) as stream:
            cursor = await last_id(stream, await upload(here, "first"))
        missed = [await upload(here, name) for name in ("second", "third")]
        async with fleet.websocket(0, *missed) as connection:
            assert {(await receive_update(connection))["assetId"] for _ in missed} == set(missed)
        async with there.stream("GET", STREAM_URL, headers={"last-event-id": cursor}) as stream:
            updates = [json.loads(line[6:]) async for line in update_lines(stream, 2)]
        assert {each["assetId"] for each in updates} == set(missed)


async def update_lines(stream: httpx.Response, count: int) -> AsyncIterator[str]:
    async with asyncio.timeout(LIMIT_S):
        async for line in stream.aiter_lines():
            if line.startswith("data:") and "embedding-update" in line:
                yield line
                count -= 1
                if count == 0:
                    return


async def last_id(stream: httpx.Response, asset: str) -> str:
    """Return the id of the event that reports this asset as ready."""
    cursor = ""
    async with asyncio.timeout(LIMIT_S):
        async for line in stream.aiter_lines():
            if line.startswith("id:"):
                cursor = line[4:]
            if cursor and asset in line:
                return cursor
    raise AssertionError("the stream ended")


async def test_another_worker_takes_over_the_jobs_of_a_killed_one(fleet: Fleet, tmp_path: Path) -> None:
    fleet.serve(0)
    os.mkfifo(tmp_path / "pipe")
    holding = fleet.work(0, TOY_FIFO=str(tmp_path / "pipe"))
    async with fleet.client() as client, fleet.psql() as psql:
        asset = await upload(client, "a cat")
        assert await asyncio.to_thread((tmp_path / "pipe").read_text) == "claimed"
        fleet.work(1)
        async with fleet.websocket(0, asset) as connection:
            holding.kill()
            assert (await receive_update(connection))["status"] == "ready"
        assert await psql.fetchval("SELECT claim_number FROM embeddings") == 2


async def test_killing_any_process_loses_nothing_and_repeats_nothing(fleet: Fleet, redis: RedisServer) -> None:
    """Each acknowledged upload is stored byte for byte and became ready exactly once."""
    seed = random.randrange(2**32)
    rng = random.Random(seed)
    fleet.serve(0), fleet.serve(1), fleet.work(0), fleet.work(1)
    async with fleet.psql() as psql:
        await psql.execute(STATE_HISTORY)
    texts = [f"{seed} {number} " * rng.choice([1, 10, 30_000]) for number in range(80)]
    stored = Stored()
    victims: list[Callable[[], object]] = [
        lambda: (fleet.workers[0].kill(), fleet.workers[0].wait(), fleet.work(0)),
        lambda: (fleet.workers[1].kill(), fleet.workers[1].wait(), fleet.work(1)),
        lambda: (fleet.servers[0].kill(), fleet.serve(0)),
        lambda: (fleet.servers[1].kill(), fleet.serve(1)),
        lambda: (redis.kill(), redis.start()),
        postgres.crash,
    ]
    rng.shuffle(victims)
    waiting = iter(texts)
    uploaders = [asyncio.create_task(upload_all(fleet, number % 2, waiting, stored)) for number in range(4)]
    async with asyncio.timeout(LIMIT_S):
        for number, strike in enumerate(victims):
            await stored.until(10 + number * 12 + rng.randrange(8))
            await asyncio.to_thread(strike)
        await asyncio.gather(*uploaders)
    assert set(stored) == set(texts)
    await check_all(fleet, stored, f"seed {seed}")


class Stored(dict[str, str]):
    """Ids of the acknowledged uploads by text."""

    def __init__(self) -> None:
        super().__init__()
        self._more = asyncio.Event()

    def __setitem__(self, text: str, asset_id: str) -> None:
        super().__setitem__(text, asset_id)
        self._more.set()

    async def until(self, count: int) -> None:
        while len(self) < count:
            self._more.clear()
            await self._more.wait()


async def upload_all(fleet: Fleet, number: int, waiting: Iterator[str], stored: Stored) -> None:
    """Upload each waiting text until it is acknowledged, trying the servers alternately."""
    for text in waiting:
        while text not in stored:
            number = 1 - number
            with contextlib.suppress(httpx.TransportError):
                async with fleet.client(number) as client:
                    answer = await client.post(
                        "/api/upload", files={"file": ("a.jpg", picture(text), "image/jpeg")}, timeout=5
                    )
                    if answer.status_code in (201, 409):
                        stored[text] = answer.json()["asset"]["id"]
            await asyncio.sleep(0)


async def check_all(fleet: Fleet, stored: dict[str, str], seed: str) -> None:
    ids = set(stored.values())
    async with fleet.client(1) as client, fleet.websocket(1) as connection, fleet.psql() as psql:
        await connection.send(json.dumps({"type": "subscribe", "assetIds": list(ids)}))
        ready: set[str] = set()
        while ready != ids:
            update = await receive_update(connection)
            assert update["status"] == "ready", seed
            ready.add(update["assetId"])
        for text, asset in stored.items():
            content = (await client.get(f"/api/assets/{asset}/original")).content
            assert content == picture(text), seed
        page = (await client.get("/api/assets?limit=1000")).json()["assets"]
        expected = sorted(hashlib.sha256(picture(text)).hexdigest() for text in stored)
        assert sorted(asset["checksum"] for asset in page) == expected, seed
        ends = await psql.fetch("SELECT count(*) FROM state_history WHERE state IN ('ready', 'failed') GROUP BY asset")
        assert [row["count"] for row in ends] == [1] * len(ids), seed
