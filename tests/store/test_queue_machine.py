"""The real queue against a small model, under any order of events that chance can think of.

Times come from the values where something changes, and any lease ever handed out may answer: by random times and living
leases alone, a fence that is missing would go unseen, and so would an item that is claimed before it is due.
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
from storekit import Store, assert_sums_are_right, digest, opened, origin, version

from splootd.core.fault import Fault
from splootd.core.item import Leased, Priority, State, Version, shard_of
from splootd.store.queue import Queue
from splootd.store.rows import item_of

T = TypeVar("T")

PATHS = [path for number in range(200) if shard_of(path := b"/memes/%d.png" % number) in (3, 4)][:6]
RAM = "/dev/shm" if Path("/dev/shm").is_dir() else None  # each commit waits for the disk

paths = st.sampled_from(PATHS)
steps_s = st.sampled_from([0.0, 1.0, 5.0, 60.0, 61.0, -5.0])  # a clock may be set back
delays_s = st.sampled_from([None, 0.0, 1.0, 5.0, 60.0])
chances = st.sampled_from([0.0, 0.79, 0.8, 0.99])
priorities = st.sampled_from(Priority)
which = st.integers(0, 1_000)
answers = st.sampled_from(["accept", "accept at once", "retry", "wait", "bury", "skip", "vanish"])


class QueueMachine(RuleBasedStateMachine):
    """`self.model` is told everything that the store is told, and every answer must be the same."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.stack = contextlib.AsyncExitStack()
        self.folder = Path(tempfile.mkdtemp(dir=RAM))
        self.store: Store = self.run(self.stack.enter_async_context(opened(self.folder / "queue.db")))
        self.queue: Queue = self.store.queue
        self.model = Model()
        self.now = 0.0
        self.boots = 1
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

    # How things get in.

    def put(self, path: bytes, of: Version, priority: Priority, delay_s: float | None) -> None:
        self.model.disk[path] = of
        settles_at = self.at(delay_s)
        arrival = self.run(self.store.put(path, of, origin(priority), now=self.now, settles_at=settles_at))
        assert (arrival.outcome, arrival.item_id) == self.model.offer(path, priority, settles_at, self.now)
        assert arrival.state is self.model.rows[arrival.item_id - 1].state

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

    # Who is next.

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
    def time_goes_by(self, step_s: float) -> None:
        self.now += step_s
        next_due = min((row.next_at for row in self.model.delayed() if row.next_at is not None), default=None)
        assert self.run(self.queue.next_due()) == next_due
        assert self.run(self.queue.promote(now=self.now)) == self.model.promote(self.now)

    @rule(new_boot=st.booleans())
    def the_daemon_starts_again(self, new_boot: bool) -> None:
        """Or only asks again what others have left: its own leases are safe from it."""
        self.boots += new_boot
        self.queue = self.store.queue_of(f"boot{self.boots}")
        assert self.run(self.queue.recover(now=self.now)) == self.model.recover(f"boot{self.boots}")

    # How it ended, told by whoever ever held a lease.

    @precondition(has_leases)
    @rule(number=which, how=answers, delay_s=delays_s)
    def answer_as_a_ghost(self, number: int, how: str, delay_s: float | None) -> None:
        """Or as one that is still alive."""
        self.answer(self.leases[number % len(self.leases)], how, delay_s)

    @precondition(has_leases)
    @rule(number=which, hows=st.lists(answers, min_size=1, max_size=4), delay_s=delays_s)
    def answer_alive(self, number: int, hows: list[str], delay_s: float | None) -> None:
        alive = [leased for leased in self.leases if self.model.leased(leased.item.id, leased.lease)]
        for leased, how in zip(alive[number % 3 :], hows, strict=False):
            self.answer(leased, how, delay_s)

    def answer(self, leased: Leased, how: str, delay_s: float | None) -> None:
        row = self.model.leased(leased.item.id, leased.lease)
        next_at = self.now + (delay_s or 0.0) if how == "retry" else self.at(delay_s)
        assert self.run(self.tell(leased, how, next_at)) is (row is not None)
        if row is None:
            return
        match how:
            case "accept" | "accept at once":
                self.model.accept(row, embedded=how == "accept at once", now=self.now)
            case "retry" | "wait":
                self.model.wait(row, next_at, counts=how == "retry")
            case "bury":
                self.model.bury(row)
            case "skip":
                self.model.skip(row)
            case "vanish":
                self.model.vanish(row, leased.item.path)

    def tell(self, leased: Leased, how: str, next_at: float | None) -> Awaitable[bool]:
        now = self.now
        match how:
            case "retry":
                assert next_at is not None
                return self.queue.retry(leased, fault=Fault.SERVER_FAULT, reason="r", next_at=next_at, now=now)
            case "wait":
                return self.queue.wait(leased, fault=Fault.SERVER_SICK, reason="r", next_at=next_at, now=now)
            case "bury":
                return self.queue.bury(leased, fault=Fault.REFUSED, reason="r", now=now)
            case "skip":
                return self.queue.skip(leased, fault=Fault.UNSUPPORTED, reason="r", now=now)
            case "vanish":
                return self.queue.vanish(leased, reason="r", now=now)
        at_once = how == "accept at once"
        return self.queue.accept(leased, asset_id="a", sha256=digest(1), duplicate=at_once, embedded=at_once, now=now)

    # What the server still works on.

    @precondition(has_items)
    @rule(number=which, delay_s=steps_s, end=st.sampled_from(["finish", "fail", "remove", "ask again"]))
    def hear_of_an_embedding(self, number: int, delay_s: float, end: str) -> None:
        due = self.run(self.queue.due_embeddings(now=self.now, limit=50))
        assert [each.item_id for each in due] == self.model.due_embeddings(self.now)
        item_id = self.any_item(number)
        match end:
            case "finish":
                self.run(self.queue.finish([item_id], now=self.now))
                self.model.end_embedding(item_id, State.READY)
            case "fail":
                fault = Fault.EMBEDDING_FAILED
                self.run(self.queue.embedding_failed(item_id, fault=fault, reason="r", now=self.now))
                self.model.end_embedding(item_id, State.DEAD)
            case "remove":
                self.run(self.queue.removed(item_id, reason="r", now=self.now))
                self.model.end_embedding(item_id, State.SKIPPED)
            case "ask again":
                self.run(self.queue.ask_again({item_id: self.now + delay_s}))
                self.model.ask_again(item_id, self.now + delay_s)

    # What people wish.

    @precondition(has_items)
    @rule(number=which, wish=st.sampled_from(["revive", "bump", "forget", "pardon"]))
    def wish(self, number: int, wish: str) -> None:
        item_id = self.any_item(number)
        match wish:
            case "revive":
                revived = self.run(self.queue.revive(ids=[item_id], now=self.now))
                assert revived == self.model.revive([self.model.rows[item_id - 1]])
            case "bump":
                assert self.run(self.queue.bump([item_id], now=self.now)) == self.model.bump(item_id)
            case "forget":
                assert self.run(self.queue.forget([item_id], now=self.now)) == self.model.forget(item_id)
            case "pardon":
                self.run(self.queue.pardon([item_id], now=self.now))
                self.model.pardon(item_id)

    @rule(fault=st.sampled_from([None, Fault.REFUSED]))
    def revive_the_dead(self, fault: Fault | None) -> None:
        dead = [row for row in self.model.rows if row.state is State.DEAD]
        if fault is None:
            revived = self.run(self.queue.revive(all_dead=True, now=self.now))
        else:
            of_fault = {item.id for item in self.run(self.store.listing.items(fault=fault, limit=1_000))}
            dead = [row for row in dead if row.id in of_fault]
            revived = self.run(self.queue.revive(fault=fault, now=self.now))
        assert revived == self.model.revive(dead)

    @invariant()
    def every_row_is_as_the_model_says_and_the_sums_are_right(self) -> None:
        def real(connection: sqlite3.Connection) -> list[tuple[object, ...]]:
            assert_sums_are_right(connection)
            return [seen(row) for row in connection.execute("SELECT * FROM items ORDER BY id")]

        assert self.run(self.store.database.read(real)) == [row.seen() for row in self.model.rows]


def seen(row: sqlite3.Row) -> tuple[object, ...]:
    """As the model tells it."""
    item = item_of(row)
    accepted_at = row["accepted_at"] if item.state is State.EMBEDDING else None
    return (
        item.id, item.path, item.version, item.priority, item.added_at, item.next_at, item.shard, item.state,
        bool(row["latest"]), item.attempts, row["lease"], accepted_at,
    )  # fmt: skip


QueueMachine.TestCase.settings = settings(
    max_examples=120, stateful_step_count=60, suppress_health_check=list(HealthCheck)
)
TestQueueMachine = QueueMachine.TestCase
TestQueueMachine.pytestmark = [pytest.mark.timeout(600)]  # what fails is made small before it is shown
