"""Admission control: decide when items may be claimed and uploaded.

The user, the circuit breaker, a rate limit or a missing sign-in can hold uploads back. All upload workers share one
controller.
"""

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Callable, Collection
from typing import Literal

from splootd.clock import Clock
from splootd.core.circuit_breaker import CircuitBreaker, CircuitState
from splootd.credentials import Credentials
from splootd.errors import (
    ItemError,
    LibraryFull,
    RateLimited,
    Rejected,
    TokenCommandFailed,
    Unauthenticated,
    Unreachable,
    UploadForbidden,
)
from splootd.event_bus import WakeSignal
from splootd.upload.failure_attribution import Attribution, FailureAttribution, FailureCause

LIBRARY_FULL_RETRY_S = 300.0
SIGNED_OUT_RETRY_S = 900.0  # then retry without the user: the fault may have been the server's

ServerState = Literal[
    "ok", "degraded", "embeddings_fail", "full", "starting", "unreachable", "signed_out", "rate_limited"
]


class Permit:
    """A permit to claim and upload one item."""


class PermitRevoked(Exception):
    """The permit became invalid between the claim and the upload."""


class AdmissionController:
    """Grants permits, and adapts to the results that are reported to it.

    A worker calls `acquire` before it uploads and `record_success` or `record_error` afterwards. `changed` is notified
    after every change. Waiters sleep until that signal or until the next known time: nothing polls.
    """

    def __init__(self, clock: Clock, credentials: Credentials) -> None:
        self.breaker = CircuitBreaker()
        self.changed = WakeSignal()
        self.is_paused = False
        self.suspend_reason: str | None = None  # why uploads are suspended, as a clause of a message
        self.slowdown_reason: str | None = None  # what slows uploads down, as a message
        self.is_draining = False  # the daemon stops: no permit is valid any more
        self._clock = clock
        self._token_changed = credentials.token_changed
        self._signed_out_snapshot: asyncio.Event | None = None  # set once the token has changed since the 401
        self._sign_in_retry_at = math.inf  # monotonic
        self._retry_after_until = -math.inf  # monotonic
        self._is_server_down = self._is_server_starting = False
        self._full_until = -math.inf  # monotonic; the library has no room until then
        self._full_error: str | None = None
        self._can_probe_now = False  # the next probe need not wait for the reset timeout
        self._probe: Permit | None = None
        self._attribution = FailureAttribution()
        self._last_error: ItemError | None = None
        self._is_control_failing = False  # the last control request failed
        self.embedding_retry_at = -math.inf  # monotonic; when to probe the model of embeddings
        self._embedding_error: str | None = None  # why uploads wait for the model

    def __repr__(self) -> str:
        return f"AdmissionController({self.state}, {self.breaker}{', paused' if self.is_paused else ''})"

    @contextlib.asynccontextmanager
    async def acquire(self) -> AsyncIterator[Permit]:
        """Wait for a permit to upload. While the breaker is half open, exactly one permit is out."""
        await self._wait_until(self._sending_wait_s)
        permit = Permit()
        if self.breaker.state is CircuitState.HALF_OPEN:
            self._probe = permit
        try:
            yield permit
        finally:
            # A probe that ends without a result (nothing to claim, cancelled) proves nothing about the server.
            # Without this release the breaker would stay half open for ever.
            if self._probe is permit:
                self._probe = None
                self.breaker.release_probe()
                self.changed.notify()

    async def wait_until_reachable(self) -> None:
        """Wait until a control request may be sent. Neither a pause nor the breaker holds these back."""
        await self._wait_until(self._wait_s)

    def is_valid(self, permit: Permit) -> bool:
        """Return whether `permit` may still be used. A pause or an open breaker also stops uploads in progress."""
        is_open = self.breaker.state is CircuitState.CLOSED or self._probe is permit
        return (
            is_open
            and not self.is_draining
            and not self._is_send_blocked
            and self._upload_wait_s(self._clock.monotonic()) == 0
        )

    def check(self, permit: Permit) -> None:
        """Raise PermitRevoked unless `permit` is valid."""
        if not self.is_valid(permit):
            raise PermitRevoked

    def is_probe(self, permit: Permit) -> bool:
        """Return whether `permit` is the probe of the half-open breaker."""
        return self._probe is permit

    def is_self_test(self, permit: Permit) -> bool:
        """Return whether `permit` is a probe with an image of our own: the contents of items may be what fails."""
        return self._probe is permit and self._attribution.opened_by_contents

    def record_self_test_error(self, error: ItemError) -> None:
        """Record that the server fails on a harmless image too: not the contents are at fault."""
        match error:
            case Rejected():
                self.record_success()
            case Unauthenticated() | RateLimited() | LibraryFull():
                self._hold_back(error)
            case UploadForbidden():
                hint = "sign in with a token that allows it: `sploot login`"
                self._hold_back(Unauthenticated(f"your token does not allow uploads ({error.title})", hint))
            case _:
                self._last_error, self._probe = error, None
                self._can_probe_now = False
                self.breaker.trip(self._clock.monotonic())
                self.changed.notify()

    def record_success(self) -> None:
        """Record an uploaded item. The server works, so contents that failed before are at fault themselves."""
        self.breaker.record_success()
        self._probe = self._last_error = None
        self._can_probe_now = self._is_control_failing = False
        self._attribution.record_success()
        self.changed.notify()

    def record_error(self, error: ItemError, *, item_id: int, content: bytes) -> Collection[int]:
        """Record a failed attempt with a content. Return the items whose attempts are refunded."""
        match error:
            case Rejected():  # the server works: it has examined the file
                self.record_success()
                return frozenset()
            case Unauthenticated() | RateLimited() | LibraryFull():
                self._hold_back(error)
                return frozenset()
        attribution = self._attribution.attribute(error, item_id=item_id, content=content, circuit=self.breaker.state)
        if attribution.server_responds:
            self.breaker.record_success()
            self._probe = self._last_error = None
        if attribution.cause is FailureCause.FILE:
            return frozenset()
        self.changed.notify()
        if attribution.cause is FailureCause.CONTENT:
            # The attempt counts against the file. As a probe it proves nothing, so `acquire` releases the probe.
            return frozenset()
        self._last_error = error
        return self._stop_at_breaker(attribution, item_id)

    def control_ok(self) -> None:
        """Record that a control request succeeded."""
        if self._is_control_failing:
            self._is_control_failing = False
            self.changed.notify()

    def control_failed(self, error: ItemError) -> None:
        """Record a failed control request. It holds back uploads only for a rate limit or a missing sign-in."""
        if isinstance(error, Unauthenticated | RateLimited):
            self._hold_back(error)
        else:
            self._last_error = error
            self._is_control_failing = True
            self.changed.notify()

    def hold_for_embeddings(self, title: str, retry_at: float) -> None:
        """Hold uploads back because the server makes none of them searchable. `retry_at` is monotonic."""
        self._embedding_error, self.embedding_retry_at = title, retry_at
        self.changed.notify()

    def release_embeddings(self) -> None:
        """Record that the server makes images searchable again, or may."""
        self._embedding_error = None
        self.changed.notify()

    def pause(self) -> None:
        self.is_paused = True
        self.changed.notify()

    def resume(self) -> None:
        """End a pause, and uploads that wait for room or for embeddings: the user accepts that these may fail."""
        self.is_paused, self._embedding_error, self._full_until = False, None, -math.inf
        self.changed.notify()

    def suspend(self, reason: str | None) -> None:
        """Suspend uploads for `reason`; resume them if it is None."""
        self.suspend_reason = reason
        self.changed.notify()

    def server_starting(self) -> None:
        """Record that the local server is starting: nothing is sent until `server_up`."""
        self.server_down("the local server is starting")
        self._is_server_starting = True

    def server_down(self, title: str) -> None:
        """Record that the local server is not running: nothing is sent until `server_up`."""
        self._is_server_down, self._is_server_starting = True, False
        self._last_error = Unreachable(title)
        self.changed.notify()

    def server_up(self) -> None:
        """Record that the local server is running: an open breaker may probe without waiting."""
        self._is_server_down = self._is_server_starting = False
        self._can_probe_now = self.breaker.state is not CircuitState.CLOSED
        self.changed.notify()

    def on_resume(self, slept_s: float) -> None:
        """Record that the machine slept and may be on another network: an open breaker may probe without waiting."""
        self._retry_after_until -= max(0.0, slept_s)
        self._can_probe_now = self.breaker.state is not CircuitState.CLOSED
        self.changed.notify()

    @property
    def is_signed_out(self) -> bool:
        return self._signed_out_snapshot is not None and not self._signed_out_snapshot.is_set()

    @property
    def retry_after_until(self) -> float | None:
        """The end of the rate limit (seconds since the epoch), or None without one."""
        return (
            self._to_wall_clock(self._retry_after_until) if self._retry_after_until > self._clock.monotonic() else None
        )

    @property
    def state(self) -> ServerState:
        if self.is_signed_out:
            return "signed_out"
        if self.retry_after_until is not None:
            return "rate_limited"
        if self._is_server_down or self._is_control_failing:
            return "starting" if self._is_server_starting else "unreachable"
        if self._full_until > self._clock.monotonic():
            return "full"
        if self.breaker.state is CircuitState.CLOSED:
            return "ok" if self._embedding_error is None else "embeddings_fail"
        return "degraded" if self._attribution.opened_by_contents else "unreachable"

    @property
    def retry_at(self) -> float | None:
        """The time of the next automatic attempt (seconds since the epoch), if it is known."""
        if self.is_signed_out or self._is_server_down:
            return None
        if self.retry_after_until is not None:
            return self.retry_after_until
        held_until = {"embeddings_fail": self.embedding_retry_at, "full": self._full_until}
        retry_at = held_until.get(self.state, self.breaker.retry_at)
        return self._to_wall_clock(retry_at) if retry_at is not None else None

    @property
    def detail(self) -> str | None:
        """The message about what stops or slows down uploads."""
        if self.state == "ok":
            return f"uploads are suspended: {self.suspend_reason}" if self.suspend_reason else self.slowdown_reason
        if self.state == "embeddings_fail":
            return self._embedding_error
        if self.state == "full":
            return self._full_error
        if self._last_error is None:
            return None
        return f"uploads fail: {self._last_error.title}" if self.state == "degraded" else self._last_error.title

    async def _wait_until(self, wait_s: Callable[[float], float]) -> None:
        """Wait until `wait_s` returns 0. It is called again after every change."""
        while left_s := wait_s(self._clock.monotonic()):
            if self._signed_out_snapshot is not None and self.is_signed_out:
                left_s = max(0.0, self._sign_in_retry_at - self._clock.monotonic())
                if not await self._token_changed.wait(self._signed_out_snapshot, left_s):
                    self._signed_out_snapshot = None
            else:
                await self.changed.wait(self.changed.snapshot(), None if math.isinf(left_s) else left_s)

    def _sending_wait_s(self, now: float) -> float:
        """As `_wait_s`, for uploads. If this returns 0 while the breaker is half open, the caller is its probe."""
        wait_s = math.inf if self._is_send_blocked else self._upload_wait_s(now)
        retry_at = self.breaker.retry_at
        if wait_s or retry_at is None:
            return wait_s
        if self.breaker.allow_request(max(now, retry_at) if self._can_probe_now else now):
            return 0.0
        return math.inf if self.breaker.state is CircuitState.HALF_OPEN else retry_at - now

    @property
    def _is_send_blocked(self) -> bool:
        return self.is_paused or self.suspend_reason is not None or self._embedding_error is not None

    def _wait_s(self, now: float) -> float:
        """Return the seconds until any request may be sent: 0 for now, infinity for until the next change."""
        return math.inf if self.is_signed_out or self._is_server_down else max(0.0, self._retry_after_until - now)

    def _upload_wait_s(self, now: float) -> float:
        """As `_wait_s`, for uploads."""
        return max(self._wait_s(now), self._full_until - now)

    def _hold_back(self, error: Unauthenticated | RateLimited | LibraryFull) -> None:
        """Hold back all requests until the user signs in or the rate limit ends, or uploads until there may be room."""
        self._last_error = error
        if isinstance(error, LibraryFull):
            self._full_until = self._clock.monotonic() + LIBRARY_FULL_RETRY_S
            self._full_error = f"{error.title}: {error.hint}" if error.hint else error.title
        elif isinstance(error, RateLimited):
            until = self._clock.monotonic() + error.retry_after_s
            self._retry_after_until = max(self._retry_after_until, until)
        else:
            delay_s = error.retry_after_s if isinstance(error, TokenCommandFailed) else SIGNED_OUT_RETRY_S
            self._sign_in_retry_at = self._clock.monotonic() + delay_s
            self._signed_out_snapshot = self._token_changed.snapshot()
        self.changed.notify()

    def _stop_at_breaker(self, attribution: Attribution, item_id: int) -> Collection[int]:
        """Count a failure that is not the fault of a file. Return the items to refund if the breaker is open now."""
        now = self._clock.monotonic()
        is_suspect = attribution.cause is FailureCause.CONTENTS
        if is_suspect and self.breaker.state is not CircuitState.CLOSED:  # a late failure: the self-test decides
            return {item_id, *self._attribution.take_refunds(attribution, ())}
        is_counted = attribution.cause is FailureCause.SERVER
        contents = self.breaker.record_failure(attribution.failure, now) if is_counted else self.breaker.trip(now)
        if self.breaker.state is CircuitState.CLOSED:
            return frozenset()
        if self._probe is not None:
            self._probe = None
            self._can_probe_now = False  # the probe was used
        elif is_suspect:
            self._can_probe_now = True  # the self-test costs no item an attempt
        return {item_id, *self._attribution.take_refunds(attribution, contents)}

    def _to_wall_clock(self, monotonic: float) -> float:
        return self._clock.now() + monotonic - self._clock.monotonic()
