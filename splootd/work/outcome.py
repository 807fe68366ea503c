"""What follows when a try has ended: errors become answers to the queue, with a sentence each."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from secrets import token_bytes

from splootd.clock import Clock
from splootd.core.failure import HANDLING, Trouble, Verdict
from splootd.core.fault import Fault
from splootd.core.item import Leased, Version
from splootd.core.retry import delay_s, is_spent
from splootd.errors import (
    BadAnswer,
    Exhausted,
    FileError,
    ItemError,
    Refused,
    ServerError,
    ServerFault,
    StoreFull,
)
from splootd.gate import Gate
from splootd.metrics import Traffic
from splootd.remote.answers import printable
from splootd.remote.delivery import Delivered
from splootd.store.answers import Accepted
from splootd.store.ledger import Ledger
from splootd.store.queue import Queue
from splootd.work.files import called, look_in_thread

UNCLEAR = frozenset({Fault.BROKEN_OFF, Fault.SERVER_FAULT, Fault.SERVER_SICK, Fault.BAD_ANSWER, Fault.DISTURBED})
"""After one of these the content may have arrived all the same: found there, it is our own and no duplicate."""

_ADVICE = (
    "the server answers other questions, so it is about this file. Perhaps it was removed there before;"
    " if not, `sploot retry`"
)

STORE_FULL_S = 5.0  # between two tries to write an answer down


class _Odd(ItemError):
    fault = Fault.DISTURBED


class Outcome:
    """Writes down how a try has ended, and tells the gate what it says about the server."""

    def __init__(
        self, queue: Queue, ledger: Ledger, gate: Gate, clock: Clock, traffic: Traffic, *, settle_s: float
    ) -> None:
        self._queue = queue
        self._ledger = ledger
        self._gate = gate
        self._clock = clock
        self._traffic = traffic
        self._settle_s = settle_s

    async def accepted(self, leased: Leased, delivered: Delivered, sha256: bytes) -> None:
        """The library has it."""
        is_duplicate = delivered.duplicate and leased.item.fault not in UNCLEAR
        with self._traffic.load.at("writing"):
            await _written(
                lambda: self._queue.accept(
                    leased,
                    asset_id=delivered.asset_id,
                    sha256=sha256,
                    duplicate=is_duplicate,
                    embedded=delivered.embedded,
                    now=self._clock.now(),
                )
            )

    async def all_accepted(self, group: Sequence[Accepted]) -> None:
        """The library has all of these."""
        settled = [replace(each, duplicate=each.duplicate and each.leased.item.fault not in UNCLEAR) for each in group]
        with self._traffic.load.at("writing"):
            await _written(lambda: self._queue.accept_group(settled, now=self._clock.now()))

    async def removed(self, leased: Leased, sha256: bytes) -> None:
        """The library had it once, and its owner removed it there. The ledger learns it, if it did not know."""
        await _written(lambda: self._ledger.removed(sha256, now=self._clock.now()))
        reason = (
            f"{called(leased.item.path)} was removed on the server, and stays so: `sploot add --force` sends it again"
        )
        await _written(lambda: self._queue.skip(leased, fault=Fault.REMOVED, reason=reason, now=self._clock.now()))

    async def handed_back(self, leased: Leased, reason: str) -> None:
        """Nothing was wrong with it; it goes on from here another time."""
        await self._wait(leased, Fault.DISTURBED, reason, next_at=None)

    async def unfinished(self, leased: Leased, until: float) -> None:
        """Its end is missing; it waits until `until` before it is sent as it is."""
        reason = f"the end of {called(leased.item.path)} is missing: it may still be being written"
        await self._wait(leased, Fault.DISTURBED, reason, next_at=until)

    async def changed(self, leased: Leased, version: Version, reason: str) -> None:
        """The file is no longer the one that was claimed; it comes again when it has come to rest."""
        await self._wait(leased, Fault.DISTURBED, reason, next_at=self._clock.now() + self._settle_s, version=version)

    async def failed(self, leased: Leased, error: ItemError, *, content: bytes | None = None) -> None:
        """`error` ended the try; `content` is the hash of what was to be sent, as far as it was known."""
        pardoned = self._tell_gate(leased, error, content or token_bytes(8))
        self._traffic.faults[error.fault] += 1
        verdict = HANDLING[error.fault].verdict
        if verdict is Verdict.RETRY and leased.item.id in pardoned:
            verdict = Verdict.WAIT
        await self._answer(leased, error, verdict)
        if others := pardoned - {leased.item.id}:
            await _written(lambda: self._queue.pardon(others, now=self._clock.now()))

    async def odd(self, leased: Leased, error: Exception) -> None:
        """This program failed at it. Another try may do better; it must not be repeated for ever."""
        title = f"{called(leased.item.path)} met a fault of this program ({printable(repr(error))})"
        await self._retry(leased, _Odd(title, "please report it, with the log"))

    async def _answer(self, leased: Leased, error: ItemError, verdict: Verdict) -> None:
        fault, reason, now = error.fault, sentence(error), self._clock.now()
        match verdict:
            case Verdict.RETRY:
                await self._retry(leased, error)
            case Verdict.WAIT if isinstance(error, FileError):
                await self._look_again(leased, reason)
            case Verdict.WAIT:
                await self._wait(leased, fault, reason, next_at=self._next_at(leased.item.attempts, fault))
            case Verdict.BURY:
                await _written(lambda: self._queue.bury(leased, fault=fault, reason=reason, now=now))
            case Verdict.SKIP:
                await _written(lambda: self._queue.skip(leased, fault=fault, reason=reason, now=now))
            case Verdict.DROP:
                await _written(lambda: self._queue.vanish(leased, reason=reason, now=now))

    async def _retry(self, leased: Leased, error: ItemError) -> None:
        attempts, now = leased.item.attempts + 1, self._clock.now()
        if is_spent(attempts=attempts, priority=leased.item.priority):
            advice = error.hint if isinstance(error, _Odd) else _ADVICE
            reason = f"{error.title}, in each of {attempts} tries: {advice}"
            await _written(lambda: self._queue.bury(leased, fault=error.fault, reason=reason, now=now))
            return
        next_at = now + self._delay_s(attempts, HANDLING[error.fault].trouble)
        reason = sentence(error)
        await _written(lambda: self._queue.retry(leased, fault=error.fault, reason=reason, next_at=next_at, now=now))

    async def _look_again(self, leased: Leased, reason: str) -> None:
        """The file changed under us: the row follows it, unless there is nothing to follow."""
        try:
            version = await look_in_thread(leased.item.path)
        except ItemError as error:
            await self.failed(leased, error)
        else:
            await self.changed(leased, version, reason)

    async def _wait(
        self, leased: Leased, fault: Fault, reason: str, *, next_at: float | None, version: Version | None = None
    ) -> None:
        now = self._clock.now()
        await _written(
            lambda: self._queue.wait(leased, fault=fault, reason=reason, next_at=next_at, now=now, version=version)
        )

    def _next_at(self, attempts: int, fault: Fault) -> float | None:
        """None where the gate holds everything anyway: then nothing is gained by a time of its own."""
        if self._gate.state != "ok":
            return None
        return self._clock.now() + self._delay_s(attempts, HANDLING[fault].trouble)

    def _delay_s(self, attempts: int, trouble: Trouble) -> float:
        return delay_s(attempts=attempts, trouble=trouble, chance=random.random())

    def _tell_gate(self, leased: Leased, error: ItemError, content: bytes) -> set[int]:
        """What the error says about the server. Returns the items to pardon."""
        match error:
            case Refused():
                self._gate.succeeded()
                return set()
            case ServerFault() | BadAnswer():
                return set(self._gate.doubted(error, item_id=leased.item.id, content=content))
            case ServerError() | Exhausted():
                return set(self._gate.failed(error, item_id=leased.item.id, content=content))
            case _:
                return set()


def sentence(error: ItemError) -> str:
    """What happened and what to do, in one line."""
    return f"{error.title}: {error.hint}" if error.hint else error.title


async def _written(answer: Callable[[], Awaitable[object]]) -> None:
    """Give the queue an answer, and insist while the disk is full: the item must not stay in nobody's hands."""
    while True:
        try:
            await answer()
        except StoreFull:
            await asyncio.sleep(STORE_FULL_S)
        else:
            return
