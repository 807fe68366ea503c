"""The real queue against a small model, under any order of events that chance can think of.

Times come from the values where something changes, and any lease ever handed out may answer: by random times and living
leases alone, a fence that is missing would go unseen, and so would an item that is claimed before it is due.
"""

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import Awaitable
from pathlib import Path
from typing import TypeVar

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from queue_model import Model, Row
from storekit import Store, digest, opened, origin, version

from splootd.core.failure import Fault
from splootd.core.item import Leased, Priority, State, Version, shard_of
from splootd.store.queue import Queue

T = TypeVar("T")

PATHS = [path for number in range(200) if shard_of(path := b"/memes/%d.png" % number) in (3, 4)][:6]
RAM = "/dev/shm" if Path("/dev/shm").is_dir() else None  # each commit waits for the disk

paths = st.sampled_from(PATHS)
steps_s = st.sampled_from([0.0, 1.0, 5.0, 60.0, 61.0, -5.0])  # a clock may be set back
delays_s = st.sampled_from([None, 0.0, 1.0, 5.0, 60.0])
chances = st.sampled_from([0.0, 0.79, 0.8, 0.99])
priorities = st.sampled_from(Priority)
which = st.integers(0, 1_000)
which_lease = st.just(-1) | which  # the last one is often still alive, any other is often a ghost


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

    @rule(path=paths, priority=priorities, delay_s=delays_s)
    def write_file(self, path: bytes, priority: Priority, delay_s: float | None) -> None:
        self.versions += 1
        self.put(path, version(self.versions), priority, delay_s)

    @rule(path=paths, priority=priorities, delay_s=delays_s)
    def see_file_again(self, path: bytes, priority: Priority, delay_s: float | None) -> None:
        if path in self.model.disk:
            self.put(path, self.model.disk[path], priority, delay_s)

    @rule(path=paths, to=paths, priority=priorities, linked=st.booleans())
    def move_or_link_file(self, path: bytes, to: bytes, priority: Priority, linked: bool) -> None:
        if path != to and path in self.model.disk:
            of = self.model.disk[path]
            if not linked:
                self.delete_file(path)
            self.put(to, of, priority, None)

    @rule(path=paths)
    def delete_file(self, path: bytes) -> None:
        self.model.disk.pop(path, None)
        self.store.disk.pop(path, None)

    # Who is next.

    def check_claim(self, leased: Leased | None, wanted: list[Row]) -> None:
        assert (leased and leased.item.id) == (wanted[0].id if wanted else None)
        if leased:
            wanted[0].state, wanted[0].lease = State.UPLOADING, leased.lease
            self.leases.append(leased)

    @rule(shard=st.sampled_from([3, 4]), chance=chances)
    def claim(self, shard: int, chance: float) -> None:
        leased = self.run(self.queue.claim(shard, now=self.now, chance=chance))
        self.check_claim(leased, self.model.claimable(shard, chance))

    @rule()
    def claim_urgent(self) -> None:
        self.check_claim(self.run(self.queue.claim_urgent(now=self.now)), self.model.claimable(None, 0.0))

    @rule(shard=st.sampled_from([3, 4]), chances=st.lists(chances, min_size=2, max_size=4))
    def claim_some(self, shard: int, chances: list[float]) -> None:
        for chance in chances:
            self.claim(shard, chance)

    @rule(step_s=steps_s)
    def time_goes_by(self, step_s: float) -> None:
        self.now += step_s

    @rule()
    def promote(self) -> None:
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

    def answered(self, number: int) -> tuple[Leased, Row | None]:
        leased = self.leases[number if number < 0 else number % len(self.leases)]
        return leased, self.model.leased(leased.item.id, leased.lease)

    @precondition(has_leases)
    @rule(number=which_lease, embedded=st.booleans())
    def accept(self, number: int, embedded: bool) -> None:
        leased, row = self.answered(number)
        answer = self.queue.accept(
            leased, asset_id="a", sha256=digest(1), duplicate=embedded, embedded=embedded, now=self.now
        )
        assert self.run(answer) is (row is not None)
        if row:
            self.model.accept(row, embedded=embedded, now=self.now)

    @precondition(has_leases)
    @rule(number=which_lease, delay_s=delays_s.filter(lambda delay_s: delay_s is not None))
    def retry(self, number: int, delay_s: float) -> None:
        leased, row = self.answered(number)
        next_at = self.now + delay_s
        answer = self.queue.retry(leased, fault=Fault.SERVER_FAULT, reason="r", next_at=next_at, now=self.now)
        assert self.run(answer) is (row is not None)
        if row:
            self.model.wait(row, next_at, counts=True)

    @precondition(has_leases)
    @rule(number=which_lease, delay_s=delays_s)
    def wait(self, number: int, delay_s: float | None) -> None:
        leased, row = self.answered(number)
        answer = self.queue.wait(leased, fault=Fault.SERVER_SICK, reason="r", next_at=self.at(delay_s), now=self.now)
        assert self.run(answer) is (row is not None)
        if row:
            self.model.wait(row, self.at(delay_s))

    @precondition(has_leases)
    @rule(number=which_lease, verdict=st.sampled_from(["bury", "skip", "vanish"]))
    def give_up(self, number: int, verdict: str) -> None:
        leased, row = self.answered(number)
        if verdict == "bury":
            answer = self.queue.bury(leased, fault=Fault.REFUSED, reason="r", now=self.now)
        elif verdict == "skip":
            answer = self.queue.skip(leased, fault=Fault.UNSUPPORTED, reason="r", now=self.now)
        else:
            answer = self.queue.vanish(leased, reason="r", now=self.now)
        assert self.run(answer) is (row is not None)
        if row and verdict == "vanish":
            self.model.vanish(row, leased.item.path)
        elif row:
            (self.model.bury if verdict == "bury" else self.model.skip)(row)

    # What the server still works on.

    @rule()
    def ask_what_is_due(self) -> None:
        due = self.run(self.queue.due_embeddings(now=self.now, limit=50))
        assert [each.item_id for each in due] == self.model.due_embeddings(self.now)

    @precondition(has_items)
    @rule(number=which, delay_s=steps_s, end=st.sampled_from(["finish", "fail", "remove", "ask again"]))
    def hear_of_an_embedding(self, number: int, delay_s: float, end: str) -> None:
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
    def every_row_is_as_the_model_says(self) -> None:
        rows = self.run(
            self.store.rows("SELECT id, latest, lease, iif(state = 'embedding', accepted_at, NULL) FROM items")
        )
        extra = {row[0]: row[1:] for row in rows}
        items = self.run(self.store.listing.items(limit=1_000))
        real = [
            (
                item.id, item.path, item.version, item.priority, item.added_at, item.next_at, item.shard, item.state,
                bool(extra[item.id][0]), item.attempts, *extra[item.id][1:],
            )
            for item in reversed(items)
        ]  # fmt: skip
        assert real == [row.seen() for row in self.model.rows]

    @invariant()
    def the_sums_are_right(self) -> None:
        self.run(self.store.assert_sums_are_right())


QueueMachine.TestCase.settings = settings(
    max_examples=100, stateful_step_count=60, deadline=None, suppress_health_check=list(HealthCheck)
)
TestQueueMachine = QueueMachine.TestCase
TestQueueMachine.pytestmark = [pytest.mark.timeout(600)]  # what fails is made small before it is shown
