"""The circuit breaker, by example and against all sequences of calls."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from splootd.core.circuit_breaker import FAILURE_THRESHOLD, RESET_TIMEOUT_S, CircuitBreaker, CircuitState

STEPS_S = [0.0, 1.0, RESET_TIMEOUT_S - 1, RESET_TIMEOUT_S, RESET_TIMEOUT_S + 1]


def opened(now: float = 0.0) -> CircuitBreaker:
    breaker = CircuitBreaker()
    for content in range(FAILURE_THRESHOLD):
        breaker.record_failure(content, now)
    return breaker


def test_five_consecutive_failures_open_it_for_thirty_seconds() -> None:
    breaker = CircuitBreaker()
    assert [breaker.record_failure(content, 100.0) for content in range(4)] == [frozenset()] * 4
    assert breaker.allow_request(100.0)
    assert breaker.record_failure(4, 100.0) == frozenset(range(5))
    assert breaker.state is CircuitState.OPEN
    assert breaker.retry_at == 130.0
    assert not breaker.allow_request(129.9)


def test_a_success_resets_the_failure_count() -> None:
    breaker = CircuitBreaker()
    for content in range(4):
        breaker.record_failure(content, 0.0)
    breaker.record_success()
    for content in range(4):
        breaker.record_failure(content, 0.0)
    assert breaker.state is CircuitState.CLOSED


def test_repeated_failures_of_one_content_do_not_open_it() -> None:
    breaker = CircuitBreaker()
    for _ in range(100):
        assert breaker.record_failure(7, 0.0) == frozenset()
    assert breaker.state is CircuitState.CLOSED


def test_exactly_one_probe_is_allowed_after_the_reset_timeout() -> None:
    breaker = opened()
    assert [breaker.allow_request(RESET_TIMEOUT_S) for _ in range(10)] == [True] + [False] * 9
    assert breaker.state is CircuitState.HALF_OPEN


def test_a_successful_probe_closes_it() -> None:
    breaker = opened()
    assert breaker.allow_request(RESET_TIMEOUT_S)
    breaker.record_success()
    assert breaker.state is CircuitState.CLOSED
    assert breaker.retry_at is None


def test_a_failed_probe_restarts_the_reset_timeout() -> None:
    breaker = opened()
    assert breaker.allow_request(RESET_TIMEOUT_S + 5)
    assert breaker.record_failure(1, RESET_TIMEOUT_S + 6) == frozenset({1})
    assert breaker.retry_at == RESET_TIMEOUT_S + 6 + RESET_TIMEOUT_S


def test_a_released_probe_allows_another_one() -> None:
    breaker = opened()
    assert breaker.allow_request(RESET_TIMEOUT_S)
    breaker.release_probe()
    assert breaker.state is CircuitState.OPEN
    assert breaker.allow_request(RESET_TIMEOUT_S)


def test_trip_opens_it_immediately() -> None:
    breaker = CircuitBreaker()
    breaker.record_failure(1, 0.0)
    assert breaker.trip(1.0) == frozenset({1})
    assert breaker.retry_at == 1.0 + RESET_TIMEOUT_S


def test_each_content_is_cleared_only_once() -> None:
    breaker = opened()
    assert breaker.allow_request(RESET_TIMEOUT_S)
    assert breaker.record_failure(99, RESET_TIMEOUT_S) == frozenset({99})


@pytest.mark.parametrize(
    ("breaker", "text"),
    [
        (CircuitBreaker(), "CircuitBreaker(closed, 0 of 5 failures)"),
        (opened(), "CircuitBreaker(open, 0 of 5 failures)"),
    ],
)
def test_repr_shows_state_and_failures(breaker: CircuitBreaker, text: str) -> None:
    assert repr(breaker) == text


class BreakerWithConcurrentWorkers(RuleBasedStateMachine):
    """Workers are admitted and report results in any order, including results from before the circuit opened.

    Like the real callers, only the probe is released while the circuit is half open.
    """

    def __init__(self) -> None:
        super().__init__()
        self.breaker = CircuitBreaker()
        self.now = 0.0
        self.in_flight = 0  # admitted while closed, without a result yet
        self.probes = 0  # admitted while open, since it last opened
        self.failed_contents: set[int] = set()

    @rule(step_s=st.sampled_from(STEPS_S))
    def advance_time(self, step_s: float) -> None:
        self.now += step_s

    @rule()
    def request(self) -> None:
        state, retry_at = self.breaker.state, self.breaker.retry_at
        admitted = self.breaker.allow_request(self.now)
        assert admitted is (
            state is CircuitState.CLOSED
            or (state is CircuitState.OPEN and retry_at is not None and self.now >= retry_at)
        )
        if state is CircuitState.CLOSED:
            self.in_flight += 1
        elif admitted:
            self.probes += 1

    @precondition(lambda self: self.in_flight + self.probes > 0)
    @rule()
    def succeed(self) -> None:
        self.breaker.record_success()
        self._finish_request()
        self.probes = 0
        self.failed_contents.clear()
        assert self.breaker.state is CircuitState.CLOSED

    @precondition(lambda self: self.in_flight + self.probes > 0)
    @rule(content=st.integers(0, 7))
    def fail(self, content: int) -> None:
        was_half_open = self.breaker.state is CircuitState.HALF_OPEN
        self.failed_contents.add(content)
        opens = was_half_open or len(self.failed_contents) == FAILURE_THRESHOLD
        assert self.breaker.record_failure(content, self.now) == (self.failed_contents if opens else frozenset())
        self._finish_request()
        if opens:
            self._assert_opened()

    @precondition(lambda self: self.in_flight + self.probes > 0)
    @rule()
    def trip(self) -> None:
        assert self.breaker.trip(self.now) == self.failed_contents
        self._finish_request()
        self._assert_opened()

    @precondition(lambda self: self.probes > 0)
    @rule()
    def release_probe(self) -> None:
        self.breaker.release_probe()
        self.probes = 0

    def _finish_request(self) -> None:
        if self.probes:
            self.probes = 0
        else:
            self.in_flight -= 1

    def _assert_opened(self) -> None:
        self.probes = 0
        self.failed_contents.clear()
        assert self.breaker.state is CircuitState.OPEN
        assert self.breaker.retry_at == self.now + RESET_TIMEOUT_S

    @invariant()
    def at_most_one_probe_is_in_flight(self) -> None:
        assert self.probes == (1 if self.breaker.state is CircuitState.HALF_OPEN else 0)

    @invariant()
    def it_is_never_stuck(self) -> None:
        """Unless a probe is in flight, the next one is allowed within the reset timeout."""
        assert self.breaker.state is not CircuitState.OPEN or self.breaker.retry_at is not None
        assert self.breaker.retry_at is None or self.breaker.retry_at <= self.now + RESET_TIMEOUT_S


TestBreakerWithConcurrentWorkers = BreakerWithConcurrentWorkers.TestCase
