"""Upload concurrency follows the backlog of the server."""

from pathlib import Path

from pipeline_fixtures import open_pipeline
from store_fixtures import open_store

from splootd.clock import Clock
from splootd.core.adaptive_concurrency import BACKLOG_THRESHOLD
from splootd.core.item import State
from splootd.credentials import Credentials
from splootd.store.read_queries import Counts
from splootd.system.concurrency_controller import ConcurrencyController
from splootd.upload.admission import AdmissionController


class Backlogged:
    """Read queries with figures set by the test."""

    def __init__(self) -> None:
        self.states = dict.fromkeys(State, 0)
        self.backlog = 0

    async def counts(self) -> Counts:
        return Counts(self.states, {}, self.states, {}, 0, 0)

    async def embedding_backlog(self) -> int:
        return self.backlog


async def test_a_growing_backlog_reduces_concurrency_and_is_reported(tmp_path: Path):
    async with open_store(tmp_path / "queue.db") as store:
        clock, listing, set_values = Clock(), Backlogged(), list[int]()
        admission = AdmissionController(clock, Credentials(tmp_path / "token", clock))
        controller = ConcurrencyController(
            listing, store.wake_signals, admission, concurrency_max=3, set_concurrency=set_values.append
        )  # type: ignore[arg-type]  # a stand-in
        listing.states[State.PENDING] = 1
        for embedding in (BACKLOG_THRESHOLD + 1, BACKLOG_THRESHOLD + 2):
            listing.backlog = embedding
            assert await controller.run_once()
        assert admission.detail == "the server is still processing 202 files; using 1 of 3 connections"
        listing.states[State.PENDING], listing.backlog = 0, 10
        assert await controller.run_once()
        assert not await controller.run_once()
        assert (set_values, admission.detail) == ([2, 1, 2, 3], None)


async def test_embeddings_are_no_backlog_before_the_server_has_reported_them(tmp_path: Path):
    """Polling takes longer than uploading: how many are not polled yet depends on the daemon alone."""
    async with open_pipeline(tmp_path) as pipeline:
        pipeline.sploot.embeds_immediately = False
        for number in range(8):
            await pipeline.add(f"{number}.jpg")
        pipeline.start()
        await pipeline.until_through()
        assert await pipeline.store.read_queries.embedding_backlog() == 0
        await pipeline.tracker.run_once()
        assert await pipeline.store.read_queries.embedding_backlog() == 8


async def test_reduced_concurrency_limits_uploads_until_it_is_raised_again(tmp_path: Path):
    async with open_pipeline(tmp_path) as pipeline:
        pipeline.uploader.set_concurrency(1)
        for number in range(20):
            await pipeline.add(f"{number}.jpg")
        pipeline.start()
        await pipeline.until_through()
        assert pipeline.sploot.uploads_max == 1
        pipeline.uploader.set_concurrency(pipeline.client.connections_max)
        for number in range(20):
            await pipeline.add(f"more {number}.jpg")
        assert (await pipeline.until_through())[State.PENDING] == 0
