"""The embedding job runner: retries, crashes of workers, and priorities."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sploot_server.domain.embedding import EmbedderUnavailable, UnreadableImage
from sploot_server.domain.entities import NewAsset, new_id
from sploot_server.library.embedding_jobs import ATTEMPTS_MAX, EmbeddingQueue
from sploot_server.pubsub.broker import Broker
from sploot_server.storage.blobs.files import FileBlobs
from sploot_server.storage.sqlite.assets import SqliteAssets
from sploot_server.storage.sqlite.database import Database
from sploot_server.storage.sqlite.jobs import SqliteJobs
from toy_library import FakeEmbedder, picture


class QueueHarness:
    """An embedding queue with its dependencies, and a clock that the test sets."""

    def __init__(self, data: Path, database: Database, embedder: FakeEmbedder) -> None:
        self.now_ms = 1_000_000
        self.database = database
        self.assets, self.jobs = SqliteAssets(database), SqliteJobs(database)
        self.blobs = FileBlobs(data)
        self.blobs.open()
        self.broker = Broker()
        self.queue = EmbeddingQueue(self.jobs, self.blobs, embedder, self.broker, lambda: self.now_ms)

    async def add(self, text: str) -> str:
        async with self.blobs.open_upload() as upload:
            upload.write(picture(text))
            await upload.commit()
        checksum = hashlib.sha256(picture(text)).hexdigest()
        new = NewAsset(new_id(), checksum, "x.jpg", "image/jpeg", 9, [])
        return (await self.assets.add(new, now_ms=self.now_ms)).asset.id

    async def state(self, asset_id: str) -> tuple[str, str | None]:
        embedding = (await self.assets.get_embeddings([asset_id]))[asset_id]
        return embedding.state.value, embedding.error_message

    async def is_finished(self, asset_id: str) -> bool:
        return (await self.state(asset_id))[0] in ("ready", "failed")


@pytest.fixture
async def harness(tmp_path: Path, embedder: FakeEmbedder) -> AsyncIterator[QueueHarness]:
    database = Database(tmp_path / "library.db")
    database.open()
    yield QueueHarness(tmp_path, database, embedder)
    await database.close()


async def test_analyzed_images_are_ready(harness: QueueHarness) -> None:
    ids = [await harness.add(text) for text in ("one", "two", "")]
    assert await harness.queue.run_once() == 3
    assert [await harness.state(each) for each in ids] == [("ready", None)] * 3
    assert await harness.queue.run_once() == 0


async def test_an_unreadable_image_fails_without_a_retry(harness: QueueHarness, embedder: FakeEmbedder) -> None:
    embedder.errors["bad"] = [UnreadableImage("It is broken.")]
    bad, good = await harness.add("bad"), await harness.add("good")
    await harness.queue.run_once()
    assert await harness.state(bad) == ("failed", "It is broken.")
    assert await harness.state(good) == ("ready", None)


async def test_a_transient_error_is_retried_later(harness: QueueHarness, embedder: FakeEmbedder) -> None:
    embedder.errors["bad"] = [RuntimeError("out of memory")] * (ATTEMPTS_MAX - 1)
    asset_id = await harness.add("bad")
    for _ in range(ATTEMPTS_MAX - 1):
        assert await harness.queue.run_once() == 1
        assert await harness.state(asset_id) == ("pending", None)
        assert await harness.queue.run_once() == 0
        harness.now_ms += 60_000
    await harness.queue.run_once()
    assert await harness.state(asset_id) == ("ready", None)


async def test_a_persistent_error_fails_with_its_message(harness: QueueHarness, embedder: FakeEmbedder) -> None:
    embedder.errors["bad"] = [RuntimeError("out of memory")] * ATTEMPTS_MAX
    asset_id = await harness.add("bad")
    for _ in range(ATTEMPTS_MAX):
        await harness.queue.run_once()
        harness.now_ms += 60_000
    assert await harness.state(asset_id) == ("failed", "The image could not be analyzed: out of memory")
    assert await harness.queue.run_once() == 0


async def test_a_result_that_cannot_be_stored_fails_alone(harness: QueueHarness) -> None:
    await harness.add("one fine frog")
    await harness.queue.run_once()
    damaged = "UPDATE image_hashes SET colours = x'00'"  # it is compared with the next image of the same words
    await harness.database.execute(damaged, values=())
    similar, other = await harness.add("One fine frog!"), await harness.add("walrus")
    for _ in range(ATTEMPTS_MAX):
        await harness.queue.run_once()
        harness.now_ms += 60_000
    state, error_message = await harness.state(similar)
    assert state == "failed"
    assert (error_message or "").startswith("What was read from the image could not be stored:")
    assert await harness.state(other) == ("ready", None)


async def test_only_the_image_that_crashes_the_worker_fails(harness: QueueHarness, embedder: FakeEmbedder) -> None:
    embedder.crashing_text = "killer"
    killer = await harness.add("killer")
    others = [await harness.add(str(number)) for number in range(5)]
    for _ in range(ATTEMPTS_MAX):
        await harness.queue.run_once()
        harness.now_ms += 60_000
    assert await harness.state(killer) == ("failed", "The worker crashed.")
    assert [await harness.state(each) for each in others] == [("ready", None)] * 5


async def test_an_unavailable_worker_does_not_count_as_an_attempt(
    harness: QueueHarness, embedder: FakeEmbedder
) -> None:
    embedder.errors["a"] = [EmbedderUnavailable("no worker")] * 9
    asset_id = await harness.add("a")
    for _ in range(9):
        with pytest.raises(EmbedderUnavailable):
            await harness.queue.run_once()
        await harness.jobs.release_stale(embedder.model, now_ms=harness.now_ms)
    await harness.queue.run_once()
    assert await harness.state(asset_id) == ("ready", None)


async def test_jobs_of_a_dead_process_are_requeued(harness: QueueHarness) -> None:
    asset_id = await harness.add("a")
    await harness.jobs.claim(1, now_ms=harness.now_ms)
    with harness.broker.subscribe(asset_id) as changed:
        running = asyncio.create_task(harness.queue.run())
        async with asyncio.timeout(10):
            await changed.wait()
        running.cancel()
    assert await harness.state(asset_id) == ("ready", None)


async def test_prioritize_waits_for_completion_up_to_its_timeout(harness: QueueHarness, embedder: FakeEmbedder) -> None:
    embedder.hold = asyncio.Event()
    asset_id = await harness.add("a")
    running = asyncio.create_task(harness.queue.run())
    await harness.queue.prioritize(asset_id, lambda: harness.is_finished(asset_id), timeout_s=0.01)
    assert (await harness.state(asset_id))[0] in ("pending", "processing")
    prioritized = asyncio.create_task(
        harness.queue.prioritize(asset_id, lambda: harness.is_finished(asset_id), timeout_s=10)
    )
    await asyncio.sleep(0)
    embedder.hold.set()
    await prioritized
    running.cancel()
    assert await harness.state(asset_id) == ("ready", None)


async def test_prioritize_ignores_the_event_of_the_previous_attempt(
    harness: QueueHarness, embedder: FakeEmbedder
) -> None:
    """The failure is committed, then the job is requeued, and only then the event of the failure is published."""
    embedder.errors["a"] = [UnreadableImage("It is broken.")]
    asset_id = await harness.add("a")
    await harness.queue.run_once()
    prioritized = asyncio.create_task(
        harness.queue.prioritize(asset_id, lambda: harness.is_finished(asset_id), timeout_s=10)
    )
    async with asyncio.timeout(10):
        while await harness.is_finished(asset_id):  # until it is requeued
            pass
    harness.broker.publish_completion(asset_id)
    assert await harness.state(asset_id) == ("pending", None)
    assert not prioritized.done()
    await harness.queue.run_once()
    await prioritized
    assert await harness.state(asset_id) == ("ready", None)
