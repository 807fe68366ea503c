"""The real queue against a small model, under random sequences of operations.

Times come from the values at which something changes, and any lease ever claimed may complete: with random times and
valid leases alone, the test would miss a missing fence and an item that is claimed before it is due.
"""

import asyncio
import contextlib
import shutil
import sqlite3
import tempfile
from collections.abc import Awaitable
from pathlib import Path
from typing import TypeVar

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from queue_model import Model, Row
from store_fixtures import Store, assert_sums_are_right, digest, open_store, source, version

from splootd.core.error_code import ErrorCode
from splootd.core.item import Leased, Priority, State, Version, shard_for
from splootd.store.queue import Queue
from splootd.store.rows import item_from_row

T = TypeVar("T")

PATHS = [path for number in range(200) if shard_for(path := b"/memes/%d.png" % number) in (3, 4)][:6]
RAM = "/dev/shm" if Path("/dev/shm").is_dir() else None  # every commit waits for the disk

paths = st.sampled_from(PATHS)
steps_s = st.sampled_from([0.0, 1.0, 5.0, 60.0, 61.0, -5.0])  # a clock can be set back
delays_s = st.sampled_from([None, 0.0, 1.0, 5.0, 60.0])
chances = st.sampled_from([0.0, 0.79, 0.8, 0.99])
priorities = st.sampled_from(Priority)
which = st.integers(0, 1_000)
completions = st.sampled_from(["accept", "accept embedded", "retry", "snooze", "discard", "skip", "file_missing"])


class QueueMachine(RuleBasedStateMachine):
    """Runs every operation on the store and on `self.model`. All results must be equal."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.stack = contextlib.AsyncExitStack()
        self.folder = Path(tempfile.mkdtemp(dir=RAM))
        self.store: Store = self.run(self.stack.enter_async_context(open_store(self.folder / "queue.db")))
        self.queue: Queue = self.store.queue
        self.model = Model()
        self.now = 0.0
        self.instances = 1
        self.leases: list[Leased] = []
        self.versions = 0

    def run(self, coroutine: Awaitable[T]) -> T:
        async def wait() -> T:
            return await coroutine

        return self.runner.run(wait())

    def teardown(self) -> None:
        self.run(self.stack.aclose())
        self.runner.close()
        shutil.rmtree(self.folder)

    def at(self, delay_s: float | None) -> float | None:
        return None if delay_s is None else self.now + delay_s

    def any_item(self, number: int) -> int:
        return 1 + number % len(self.model.rows)

    def has_items(self) -> bool:
        return bool(self.model.rows)

    def has_leases(self) -> bool:
        return bool(self.leases)

    # Enqueueing.

    def put(self, path: bytes, of: Version, priority: Priority, delay_s: float | None) -> None:
        self.model.disk[path] = of
        settles_at = self.at(delay_s)
        result = self.run(self.store.put(path, of, source(priority), now=self.now, settles_at=settles_at))
        assert (result.outcome, result.item_id) == self.model.enqueue(path, priority, settles_at, self.now)
        assert result.state is self.model.rows[result.item_id - 1].state

    @initialize(begin_with=st.lists(priorities, min_size=1, max_size=len(PATHS)))
    def files_to_begin_with(self, begin_with: list[Priority]) -> None:
        for path, priority in zip(PATHS, begin_with, strict=False):
            self.write_file(path, priority, None)

    def write_file(self, path: bytes, priority: Priority, delay_s: float | None) -> None:
        self.versions += 1
        self.put(path, version(self.versions), priority, delay_s)

    def delete_file(self, path: bytes) -> None:
        self.model.disk.pop(path, None)
        self.store.disk.pop(path, None)

    @rule(
        happens=st.sampled_from(["write", "see", "move", "link", "delete"]),
        path=paths, to=paths, priority=priorities, delay_s=delays_s,
    )  # fmt: skip
    def a_file(self, happens: str, path: bytes, to: bytes, priority: Priority, delay_s: float | None) -> None:
        of = self.model.disk.get(path)
        if of is None or happens == "write":
            self.write_file(path, priority, delay_s)
        elif happens == "see":
            self.put(path, of, priority, delay_s)
        elif happens == "delete":
            self.delete_file(path)
        elif path != to:
            if happens == "move":
                self.delete_file(path)
            self.put(to, of, priority, delay_s)

    # Claims and due times.

    def check_claim(self, leased: Leased | None, wanted: list[Row]) -> None:
        assert (leased and leased.item.id) == (wanted[0].id if wanted else None)
        if leased:
            wanted[0].state, wanted[0].lease = State.UPLOADING, leased.lease
            self.leases.append(leased)

    @rule(shard=st.sampled_from([3, 4]), chances=st.lists(chances, min_size=1, max_size=4))
    def claim(self, shard: int, chances: list[float]) -> None:
        for chance in chances:
            leased = self.run(self.queue.claim(shard, now=self.now, chance=chance))
            self.check_claim(leased, self.model.claimable(shard, chance))

    @rule()
    def claim_urgent(self) -> None:
        self.check_claim(self.run(self.queue.claim_urgent(now=self.now)), self.model.claimable(None, 0.0))

    @rule(step_s=steps_s)
    def advance_time(self, step_s: float) -> None:
        self.now += step_s
        next_due = min((row.next_at for row in self.model.delayed() if row.next_at is not None), default=None)
        assert self.run(self.queue.next_due()) == next_due
        assert self.run(self.queue.make_due(now=self.now)) == self.model.make_due(self.now)

    @rule(new_instance=st.booleans())
    def restart_daemon(self, new_instance: bool) -> None:
        """Release stale leases as a new instance, or again as the same one, which keeps its own leases."""
        self.instances += new_instance
        self.queue = self.store.queue_of(f"instance{self.instances}")
        assert self.run(self.queue.release_stale(now=self.now)) == self.model.release_stale(f"instance{self.instances}")

    # Completions, by any lease ever claimed.

    @precondition(has_leases)
    @rule(number=which, how=completions, delay_s=delays_s)
    def complete_any(self, number: int, how: str, delay_s: float | None) -> None:
        """Complete any lease ever claimed, valid or not."""
        self.complete(self.leases[number % len(self.leases)], how, delay_s)

    @precondition(has_leases)
    @rule(number=which, hows=st.lists(completions, min_size=1, max_size=4), delay_s=delays_s)
    def complete_valid(self, number: int, hows: list[str], delay_s: float | None) -> None:
        valid = [leased for leased in self.leases if self.model.leased(leased.item.id, leased.lease)]
        for leased, how in zip(valid[number % 3 :], hows, strict=False):
            self.complete(leased, how, delay_s)

    def complete(self, leased: Leased, how: str, delay_s: float | None) -> None:
        row = self.model.leased(leased.item.id, leased.lease)
        next_at = self.now + (delay_s or 0.0) if how == "retry" else self.at(delay_s)
        assert self.run(self.send_completion(leased, how, next_at)) is (row is not None)
        if row is None:
            return
        match how:
            case "accept" | "accept embedded":
                self.model.accept(row, embedded=how == "accept embedded", now=self.now)
            case "retry" | "snooze":
                self.model.snooze(row, next_at, counts=how == "retry")
            case "discard":
                self.model.discard(row)
            case "skip":
                self.model.skip(row)
            case "file_missing":
                self.model.file_missing(row, leased.item.path)

    def send_completion(self, leased: Leased, how: str, next_at: float | None) -> Awaitable[bool]:
        now = self.now
        match how:
            case "retry":
                assert next_at is not None
                return self.queue.retry(
                    leased, error_code=ErrorCode.SERVER_ERROR, error_message="r", next_at=next_at, now=now
                )
            case "snooze":
                return self.queue.snooze(
                    leased, error_code=ErrorCode.SERVER_UNAVAILABLE, error_message="r", next_at=next_at, now=now
                )
            case "discard":
                return self.queue.discard(leased, error_code=ErrorCode.REJECTED, error_message="r", now=now)
            case "skip":
                return self.queue.skip(leased, error_code=ErrorCode.UNSUPPORTED, error_message="r", now=now)
            case "file_missing":
                return self.queue.file_missing(leased, error_message="r", now=now)
        embedded = how == "accept embedded"
        return self.queue.accept(leased, asset_id="a", sha256=digest(1), duplicate=embedded, embedded=embedded, now=now)

    # Embeddings.

    @precondition(has_items)
    @rule(number=which, delay_s=steps_s, end=st.sampled_from(["finish", "fail", "remove", "poll again"]))
    def poll_embedding(self, number: int, delay_s: float, end: str) -> None:
        due = self.run(self.queue.due_embeddings(now=self.now, limit=50))
        assert [each.item_id for each in due] == self.model.due_embeddings(self.now)
        item_id = self.any_item(number)
        match end:
            case "finish":
                self.run(self.queue.finish([item_id], now=self.now))
                self.model.end_embedding(item_id, State.READY)
            case "fail":
                error_code = ErrorCode.EMBEDDING_FAILED
                self.run(self.queue.discard_embedding(item_id, error_code=error_code, error_message="r", now=self.now))
                self.model.end_embedding(item_id, State.FAILED)
            case "remove":
                self.run(self.queue.skip_removed(item_id, error_message="r", now=self.now))
                self.model.end_embedding(item_id, State.SKIPPED)
            case "poll again":
                self.run(self.queue.schedule_polls({item_id: self.now + delay_s}))
                self.model.schedule_poll(item_id, self.now + delay_s)

    # Commands of the user.

    @precondition(has_items)
    @rule(number=which, command=st.sampled_from(["requeue", "bump", "forget", "refund"]))
    def run_command(self, number: int, command: str) -> None:
        item_id = self.any_item(number)
        match command:
            case "requeue":
                requeued = self.run(self.queue.requeue(ids=[item_id], now=self.now))
                assert requeued == self.model.requeue([self.model.rows[item_id - 1]])
            case "bump":
                assert self.run(self.queue.bump([item_id], now=self.now)) == self.model.bump(item_id)
            case "forget":
                assert self.run(self.queue.forget([item_id], now=self.now)) == self.model.forget(item_id)
            case "refund":
                self.run(self.queue.refund_attempts([item_id], now=self.now))
                self.model.refund_attempt(item_id)

    @rule()
    def requeue_rejected(self) -> None:
        rejected = self.run(self.store.read_queries.items(error_code=ErrorCode.REJECTED, limit=1_000))
        ids = {item.id for item in rejected if item.state is State.FAILED}
        requeued = self.run(self.queue.requeue(error_code=ErrorCode.REJECTED, now=self.now))
        assert requeued == self.model.requeue([row for row in self.model.rows if row.id in ids])

    @invariant()
    def every_row_equals_the_model_and_the_sums_are_right(self) -> None:
        def real(connection: sqlite3.Connection) -> list[tuple[object, ...]]:
            assert_sums_are_right(connection)
            return [seen(row) for row in connection.execute("SELECT * FROM items ORDER BY id")]

        assert self.run(self.store.database.read(real)) == [row.seen() for row in self.model.rows]


def seen(row: sqlite3.Row) -> tuple[object, ...]:
    """Return the values of `Row.seen`."""
    item = item_from_row(row)
    accepted_at = row["accepted_at"] if item.state is State.EMBEDDING else None
    return (
        item.id, item.path, item.version, item.priority, item.added_at, item.next_at, item.shard, item.state,
        bool(row["latest"]), item.attempts, row["lease"], accepted_at,
    )  # fmt: skip


QueueMachine.TestCase.settings = settings(
    max_examples=60, stateful_step_count=50, suppress_health_check=list(HealthCheck)
)
TestQueueMachine = QueueMachine.TestCase
TestQueueMachine.pytestmark = [pytest.mark.timeout(600)]  # Hypothesis shrinks a failure before it reports it
