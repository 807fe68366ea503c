"""Two servers and two workers on one PostgreSQL, one bucket and one Redis, all of them real processes."""

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
from fleet import LIMIT_S, Fleet, complete, heard, told_ms, upload
from redis_server import RedisServer
from toy_library import picture

STREAM_URL = "/api/sse/embedding-updates"

# What each embedding has been through, by the database's own account.
WITNESS = """
    CREATE TABLE witness (asset bigint, state text);
    CREATE FUNCTION witnessed() RETURNS trigger LANGUAGE plpgsql AS
      'BEGIN INSERT INTO witness VALUES (NEW.asset, NEW.state); RETURN NULL; END';
    CREATE TRIGGER witnesses AFTER UPDATE OF state ON embeddings FOR EACH ROW EXECUTE FUNCTION witnessed();
"""


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fleet]:
    database = postgres.new_database()
    environment = {**s3.server(), "SPLOOT_SERVER_DATABASE": database, "SPLOOT_SERVER_BLOBS": s3.new_place()}
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


async def test_an_upload_here_is_read_there_and_told_everywhere(fleet: Fleet) -> None:
    """Ten clients of two servers hear it; the picture is there, whole and in part, at the server that never saw it."""
    fleet.serve(0), fleet.serve(1)
    async with fleet.client(0) as here, fleet.client(1) as there, contextlib.AsyncExitStack() as stack:
        asset = await upload(here, "a cat " * 100_000)
        ears = [await stack.enter_async_context(fleet.ear(number % 2, asset)) for number in range(10)]
        fleet.work(0)
        for each in ears:
            update = await heard(each)
            assert (update["assetId"], update["status"]) == (asset, "ready")
        url = (await there.get(f"/api/assets/{asset}")).json()["asset"]["blobUrl"]
        whole = picture("a cat " * 100_000)
        assert (await there.get(url)).content == whole
        part = await there.get(url, headers={"range": "bytes=300000-300009"})
        assert (part.status_code, part.content) == (206, whole[300_000:300_010])
        assert (await there.post("/api/upload", files={"file": ("b.jpg", whole, "image/jpeg")})).status_code == 409


@pytest.fixture(params=["postgres", "redis"])
def news(request: pytest.FixtureRequest) -> str:
    """What is there to carry news between processes; the fleet is to be started after it."""
    if request.param == "redis":
        request.getfixturevalue("redis")
    return str(request.param)


@pytest.mark.usefixtures("news")
async def test_a_row_completed_by_hand_is_a_message_at_another_process_at_once(fleet: Fleet) -> None:
    """`benchmarks/told.py` measures it; here is only what a busy machine cannot turn round."""
    fleet.serve(0), fleet.serve(1)
    took_ms = await told_ms(fleet, count=30)
    assert statistics.median(took_ms) < 100


async def test_without_redis_news_are_told_by_the_database_and_no_server_is_taken_for_dead(
    fleet: Fleet, redis: RedisServer
) -> None:
    """What a balancer would take away with the news is the library."""
    fleet.serve(0), fleet.serve(1)
    async with fleet.client(0) as here, fleet.client(1) as there, fleet.psql() as psql:
        asset = await upload(here, "a cat")
        async with fleet.ear(1, asset) as line:
            await asyncio.to_thread(redis.kill)
            await complete(psql, asset)
            assert (await heard(line))["assetId"] == asset
        ready: dict[str, Any] = {"status": "ok"}
        async with asyncio.timeout(LIMIT_S):
            while ready["status"] == "ok":
                answer = await there.get("/api/health/ready")
                assert answer.status_code == 200
                ready = answer.json()
        assert ready == {"status": "degraded", "checks": {"database": True, "blobs": True, "events": False}}


async def test_a_stream_goes_on_at_another_server_where_it_was_broken_off(fleet: Fleet) -> None:
    fleet.serve(0), fleet.serve(1), fleet.work(0)
    async with fleet.client(0) as here, fleet.client(1) as there:
        async with here.stream("GET", STREAM_URL) as stream:
            mark = await last_id(stream, await upload(here, "first"))
        missed = [await upload(here, name) for name in ("second", "third")]
        async with fleet.ear(0, *missed) as line:
            assert {(await heard(line))["assetId"] for _ in missed} == set(missed)
        async with there.stream("GET", STREAM_URL, headers={"last-event-id": mark}) as stream:
            told = [json.loads(line[6:]) async for line in until_updates(stream, 2)]
        assert {each["assetId"] for each in told} == set(missed)


async def until_updates(stream: httpx.Response, count: int) -> AsyncIterator[str]:
    async with asyncio.timeout(LIMIT_S):
        async for line in stream.aiter_lines():
            if line.startswith("data:") and "embedding-update" in line:
                yield line
                count -= 1
                if count == 0:
                    return


async def last_id(stream: httpx.Response, asset: str) -> str:
    """The id of the event that says that this asset is ready."""
    mark = ""
    async with asyncio.timeout(LIMIT_S):
        async for line in stream.aiter_lines():
            if line.startswith("id:"):
                mark = line[4:]
            if mark and asset in line:
                return mark
    raise AssertionError("the stream ended")


async def test_what_a_killed_worker_had_in_hand_is_taken_up_by_another(fleet: Fleet, tmp_path: Path) -> None:
    fleet.serve(0)
    os.mkfifo(tmp_path / "pipe")
    holding = fleet.work(0, TOY_FIFO=str(tmp_path / "pipe"))
    async with fleet.client() as client, fleet.psql() as psql:
        asset = await upload(client, "a cat")
        assert await asyncio.to_thread((tmp_path / "pipe").read_text) == "in hand"
        fleet.work(1)
        async with fleet.ear(0, asset) as line:
            holding.kill()
            assert (await heard(line))["status"] == "ready"
        assert await psql.fetchval("SELECT claims FROM embeddings") == 2


async def test_whoever_is_killed_nothing_is_lost_and_nothing_is_done_twice(fleet: Fleet, redis: RedisServer) -> None:
    """Each upload that was acknowledged is there, byte for byte, and became ready exactly once."""
    seed = random.randrange(2**32)
    rng = random.Random(seed)
    fleet.serve(0), fleet.serve(1), fleet.work(0), fleet.work(1)
    async with fleet.psql() as psql:
        await psql.execute(WITNESS)
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
    lanes = [asyncio.create_task(lane(fleet, number % 2, waiting, stored)) for number in range(4)]
    async with asyncio.timeout(LIMIT_S):
        for number, strike in enumerate(victims):
            await stored.until(10 + number * 12 + rng.randrange(8))
            await asyncio.to_thread(strike)
        await asyncio.gather(*lanes)
    assert set(stored) == set(texts)
    await check_all(fleet, stored, f"seed {seed}")


class Stored(dict[str, str]):
    """The ids of what was acknowledged, by text."""

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


async def lane(fleet: Fleet, number: int, waiting: Iterator[str], stored: Stored) -> None:
    """Upload what waits, each until it is acknowledged, to whichever server is there."""
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
    async with fleet.client(1) as client, fleet.ear(1) as line, fleet.psql() as psql:
        await line.send(json.dumps({"type": "subscribe", "assetIds": list(ids)}))
        ready: set[str] = set()
        while ready != ids:
            update = await heard(line)
            assert update["status"] == "ready", seed
            ready.add(update["assetId"])
        for text, asset in stored.items():
            content = (await client.get(f"/api/assets/{asset}/original")).content
            assert content == picture(text), seed
        page = (await client.get("/api/assets?limit=1000")).json()["assets"]
        expected = sorted(hashlib.sha256(picture(text)).hexdigest() for text in stored)
        assert sorted(asset["checksum"] for asset in page) == expected, seed
        ends = await psql.fetch("SELECT count(*) FROM witness WHERE state IN ('ready', 'failed') GROUP BY asset")
        assert [row["count"] for row in ends] == [1] * len(ids), seed
