"""What may hold back the sending: the user, a sick server, a rate limit, a missing sign-in. One gate for all lanes."""

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Callable, Collection
from typing import Literal

from splootd.bus import Bell
from splootd.clock import Clock
from splootd.core.breaker import FAULTS_MAX, Breaker, Mood
from splootd.credentials import Credentials
from splootd.errors import BrokenOff, Exhausted, ItemError, RateLimited, ServerError, SignedOut, Unreachable

PROBES_MAX = 20
"""Probes in a row that a server may fail while it answers every question well, before each of them speaks against its
file after all: ten minutes. A library from which its owner has removed many pictures fails on all of them, for ever."""

BLAMED_MAX = 10_000  # contents remembered as sick

SIGNED_OUT_ASK_S = 900.0  # then it is tried without the user: the command that prints tokens may work again

GateState = Literal["ok", "unreachable", "signed_out", "rate_limited"]


class Passage:
    """Leave to claim and send one item."""


class Gate:
    """Whoever wants to send takes a `passage`, and says how it went: `succeeded`, `failed` or `doubted`.

    `bell` rings at every change. Waiting is for bells, and for the one time that is known: nothing polls.
    """

    def __init__(self, clock: Clock, credentials: Credentials) -> None:
        self.breaker = Breaker()
        self.bell = Bell()
        self.paused = False
        self.held_for: str | None = None  # why sending waits although nobody is sick, in a sentence
        self.remark: str | None = None  # what slows the sending without stopping it, in a sentence
        self._clock = clock
        self._signal = credentials.signal
        self._signed_out: asyncio.Event | None = None  # is set when the user has signed in since
        self._held_until = -math.inf  # monotonic
        self._is_down = False
        self._is_overdue = False  # the next probe need not wait for its time
        self._probe: Passage | None = None
        self._suspects = _Suspects()  # they failed, and the server with them
        self._doubts = _Suspects()  # they failed, while the server was well otherwise
        self._blamed: set[int] = set()  # the server failed on these, and took others since
        self._opened_by_doubts = False
        self._failed_probes = 0  # in a row, while the server answered questions well
        self._trouble: ItemError | None = None
        self._is_silent = False  # when last asked a small question

    def __repr__(self) -> str:
        return f"Gate({self.state}, {self.breaker}{', paused' if self.paused else ''})"

    @contextlib.asynccontextmanager
    async def passage(self) -> AsyncIterator[Passage]:
        """Wait until sending may go on. While the breaker is half open, exactly one caller has passed."""
        await self._until(self._sending_wait_s)
        passage = Passage()
        if self.breaker.mood is Mood.HALF_OPEN:
            self._probe = passage
        try:
            yield passage
        finally:
            if self._probe is passage:  # nothing was learned about the server: somebody else may probe
                self._probe = None
                self.breaker.abandoned()
                self.bell.ring()

    async def questions_allowed(self) -> None:
        """Wait until small questions may be asked, which neither a pause nor the breaker holds back."""
        await self._until(self._wait_s)

    def admits(self, passage: Passage) -> bool:
        """Whether `passage` is still good: what has closed the gate since also stops those inside."""
        is_open = self.breaker.mood is Mood.CLOSED or self._probe is passage
        return is_open and not self._is_held and self._wait_s(self._clock.monotonic()) == 0

    def is_probe(self, passage: Passage) -> bool:
        """Whether it is the one that finds out how the server fares."""
        return self._probe is passage

    def succeeded(self) -> None:
        """An item got through: the server is well, and what it failed on before is sick itself."""
        self.breaker.succeeded()
        self._probe = self._trouble = None
        self._is_overdue = self._is_silent = False
        self._failed_probes = 0
        self._suspects.clear()
        if len(self._blamed) < BLAMED_MAX:
            self._blamed.update(self._doubts.contents())
        self._doubts.clear()
        self.bell.ring()

    def failed(self, error: ItemError, *, item_id: int, content: bytes) -> Collection[int]:
        """The server, or this machine, failed. Returns the items to pardon: it was not their fault.

        Only a line that broke while the content was sent may have to do with the content.
        """
        now = self._clock.monotonic()
        self._trouble = error
        match error:
            case SignedOut():
                self._signed_out = self._signal.ticket()
            case RateLimited():
                self._held_until = max(self._held_until, now + error.retry_after_s)
            case Exhausted():
                return self._opened(self.breaker.exhausted(now), item_id, by_doubts=False)
            case ServerError():
                suspect = self._suspects.add(content if isinstance(error, BrokenOff) else error.occasion, item_id)
                return self._opened(self.breaker.failed(suspect, now), item_id, by_doubts=False)
        self.bell.ring()
        return frozenset()

    def doubted(self, error: ItemError, *, item_id: int, content: bytes) -> Collection[int]:
        """The server failed on this content, and answered another question well. Returns the items to pardon.

        That speaks against the content if others have got through since it first failed, and against the server if one
        content after the other fails so.
        """
        if self.breaker.mood is not Mood.CLOSED and not self._opened_by_doubts:
            self.breaker.succeeded()  # it was opened because nothing was answered any more
            self._probe = self._trouble = None
        number = self._doubts.add(content, item_id)
        was_probe = self.breaker.mood is Mood.HALF_OPEN
        self._failed_probes += was_probe
        if number in self._blamed or self._failed_probes > PROBES_MAX:
            self._doubts.take([number])  # its try counts; as a probe it has told nothing, and the next one may pass
            return frozenset()
        if not was_probe and len(self._doubts) < FAULTS_MAX:
            self.bell.ring()
            return frozenset()
        self._trouble = error
        self.breaker.exhausted(self._clock.monotonic())
        return self._opened(self._doubts.contents(), item_id, by_doubts=True)

    def answered(self) -> None:
        """A small question, beside the sending, was answered."""
        if self._is_silent:
            self._is_silent = False
            self.bell.ring()

    def unanswered(self, error: ItemError) -> None:
        """A small question was not answered. It holds back nothing else, unless the server said so."""
        if isinstance(error, SignedOut | RateLimited):
            self.failed(error, item_id=0, content=b"")
        else:
            self._trouble = error
            self._is_silent = True
            self.bell.ring()

    def pause(self) -> None:
        self.paused = True
        self.bell.ring()

    def resume(self) -> None:
        self.paused = False
        self.bell.ring()

    def hold(self, reason: str | None) -> None:
        """Let nothing be sent for `reason`, until this is called with None."""
        self.held_for = reason
        self.bell.ring()

    def server_down(self, title: str) -> None:
        """The embedded server is known not to run: nothing is tried until `server_up`."""
        self._is_down = True
        self._trouble = Unreachable(title)
        self.bell.ring()

    def server_up(self) -> None:
        """The embedded server runs (again): an open breaker may probe at once."""
        self._is_down = False
        self._is_overdue = self.breaker.mood is not Mood.CLOSED
        self.bell.ring()

    def awakened(self, slept_s: float) -> None:
        """The machine has slept, and may be on another network now: an open breaker may probe at once."""
        self._held_until -= max(0.0, slept_s)
        self._is_overdue = self.breaker.mood is not Mood.CLOSED
        self.bell.ring()

    @property
    def signed_out(self) -> bool:
        return self._signed_out is not None and not self._signed_out.is_set()

    @property
    def held_until(self) -> float | None:
        """When the rate limit ends (seconds since the epoch), or None without one."""
        return self._wall(self._held_until) if self._held_until > self._clock.monotonic() else None

    @property
    def state(self) -> GateState:
        if self.signed_out:
            return "signed_out"
        if self.held_until is not None:
            return "rate_limited"
        is_reachable = not self._is_down and not self._is_silent and self.breaker.mood is Mood.CLOSED
        return "ok" if is_reachable else "unreachable"

    @property
    def retry_at(self) -> float | None:
        """When sending is tried again by itself (seconds since the epoch), where that is known."""
        if self.signed_out or self._is_down:
            return None
        if self.held_until is not None:
            return self.held_until
        return self._wall(self.breaker.retry_at) if self.breaker.retry_at is not None else None

    @property
    def detail(self) -> str | None:
        """What holds it back or slows it, in a sentence."""
        if self.state == "ok":
            return f"sending waits, because {self.held_for}" if self.held_for else self.remark
        return self._trouble.title if self._trouble is not None else None

    async def _until(self, wait_s: Callable[[float], float]) -> None:
        """Wait until `wait_s`, asked anew after every ring, says 0."""
        while left_s := wait_s(self._clock.monotonic()):
            if self._signed_out is not None and self.signed_out:
                if not await self._signal.wait(self._signed_out, SIGNED_OUT_ASK_S):
                    self._signed_out = None
            else:
                await self.bell.wait(self.bell.ticket(), None if math.isinf(left_s) else left_s)

    def _sending_wait_s(self, now: float) -> float:
        """As `_wait_s`. When this returns 0 with the breaker half open, the caller has become its probe."""
        wait_s = math.inf if self._is_held else self._wait_s(now)
        retry_at = self.breaker.retry_at
        if wait_s or retry_at is None:
            return wait_s
        if self.breaker.admits(max(now, retry_at) if self._is_overdue else now):
            return 0.0
        return math.inf if self.breaker.mood is Mood.HALF_OPEN else retry_at - now

    @property
    def _is_held(self) -> bool:
        return self.paused or self.held_for is not None

    def _wait_s(self, now: float) -> float:
        """Seconds until the server may be asked anything: 0 for now, infinity for until a bell rings."""
        return math.inf if self.signed_out or self._is_down else max(0.0, self._held_until - now)

    def _opened(self, contents: Collection[int], item_id: int, *, by_doubts: bool) -> Collection[int]:
        """After the breaker may have opened: whom it pardons."""
        self.bell.ring()
        if self.breaker.mood is Mood.CLOSED:
            return frozenset()
        if self._probe is not None:
            self._probe = None
            self._is_overdue = False  # it had its probe
        self._opened_by_doubts = by_doubts
        return {item_id, *(self._doubts if by_doubts else self._suspects).take(contents)}

    def _wall(self, monotonic: float) -> float:
        return self._clock.now() + monotonic - self._clock.monotonic()


class _Suspects:
    """Which items failed with which content; several items may be copies of one."""

    def __init__(self) -> None:
        self._items: dict[int, set[int]] = {}

    def __len__(self) -> int:
        return len(self._items)

    def add(self, content: bytes, item_id: int) -> int:
        """Note it, and return the content's number."""
        number = int.from_bytes(content[:8])
        self._items.setdefault(number, set()).add(item_id)
        return number

    def contents(self) -> Collection[int]:
        return tuple(self._items)

    def take(self, contents: Collection[int]) -> set[int]:
        """The items that failed with `contents`; they are forgotten here."""
        return {item_id for content in contents for item_id in self._items.pop(content, ())}

    def clear(self) -> None:
        self._items.clear()
