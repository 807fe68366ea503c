import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from splootd.core.breaker import FAULTS_MAX, OPEN_S, Breaker, Mood

STEPS_S = [0.0, 1.0, OPEN_S - 1, OPEN_S, OPEN_S + 1]


def opened(now: float = 0.0) -> Breaker:
    breaker = Breaker()
    for content in range(FAULTS_MAX):
        breaker.failed(content, now)
    return breaker


def test_five_faults_in_a_row_open_it_for_thirty_seconds() -> None:
    breaker = Breaker()
    assert [breaker.failed(content, 100.0) for content in range(4)] == [frozenset()] * 4
    assert breaker.admits(100.0)
    assert breaker.failed(4, 100.0) == frozenset(range(5))
    assert breaker.mood is Mood.OPEN
    assert breaker.retry_at == 130.0
    assert not breaker.admits(129.9)


def test_a_success_between_faults_starts_the_count_afresh() -> None:
    breaker = Breaker()
    for content in range(4):
        breaker.failed(content, 0.0)
    breaker.succeeded()
    for content in range(4):
        breaker.failed(content, 0.0)
    assert breaker.mood is Mood.CLOSED


def test_one_content_that_fails_again_and_again_speaks_against_itself() -> None:
    breaker = Breaker()
    for _ in range(100):
        assert breaker.failed(7, 0.0) == frozenset()
    assert breaker.mood is Mood.CLOSED


def test_exactly_one_probe_passes_when_the_time_has_come() -> None:
    breaker = opened()
    assert [breaker.admits(OPEN_S) for _ in range(10)] == [True] + [False] * 9
    assert breaker.mood is Mood.HALF_OPEN


def test_a_probe_that_succeeds_closes_it() -> None:
    breaker = opened()
    assert breaker.admits(OPEN_S)
    breaker.succeeded()
    assert breaker.mood is Mood.CLOSED
    assert breaker.retry_at is None


def test_a_probe_that_fails_opens_it_for_as_long_again() -> None:
    breaker = opened()
    assert breaker.admits(OPEN_S + 5)
    assert breaker.failed(1, OPEN_S + 6) == frozenset({1})
    assert breaker.retry_at == OPEN_S + 6 + OPEN_S


def test_a_probe_that_gives_up_leaves_the_place_to_another() -> None:
    breaker = opened()
    assert breaker.admits(OPEN_S)
    breaker.abandoned()
    assert breaker.mood is Mood.OPEN
    assert breaker.admits(OPEN_S)


def test_running_out_of_something_opens_it_at_once() -> None:
    breaker = Breaker()
    breaker.failed(1, 0.0)
    assert breaker.exhausted(1.0) == frozenset({1})
    assert breaker.retry_at == 1.0 + OPEN_S


def test_whom_it_cleared_it_does_not_clear_again() -> None:
    breaker = opened()
    assert breaker.admits(OPEN_S)
    assert breaker.failed(99, OPEN_S) == frozenset({99})


@pytest.mark.parametrize(
    ("breaker", "text"),
    [(Breaker(), "Breaker(closed, 0 of 5 faults)"), (opened(), "Breaker(open, 0 of 5 faults)")],
)
def test_it_shows_how_it_stands(breaker: Breaker, text: str) -> None:
    assert repr(breaker) == text


class BreakerAmongLanes(RuleBasedStateMachine):
    """Lanes ask, are admitted, and answer sooner or later, in any order; late answers of former days included.

    As its callers do, only the probe gives up while the breaker is half open.
    """

    def __init__(self) -> None:
        super().__init__()
        self.breaker = Breaker()
        self.now = 0.0
        self.inside = 0  # admitted while it was closed, and not answered yet
        self.probes = 0  # admitted while it was open, since it last opened
        self.blamed: set[int] = set()

    @rule(step_s=st.sampled_from(STEPS_S))
    def let_time_pass(self, step_s: float) -> None:
        self.now += step_s

    @rule()
    def ask(self) -> None:
        mood, retry_at = self.breaker.mood, self.breaker.retry_at
        admitted = self.breaker.admits(self.now)
        assert admitted is (
            mood is Mood.CLOSED or (mood is Mood.OPEN and retry_at is not None and self.now >= retry_at)
        )
        if mood is Mood.CLOSED:
            self.inside += 1
        elif admitted:
            self.probes += 1

    @precondition(lambda self: self.inside + self.probes > 0)
    @rule()
    def succeed(self) -> None:
        self.breaker.succeeded()
        self._leave()
        self.probes = 0
        self.blamed.clear()
        assert self.breaker.mood is Mood.CLOSED

    @precondition(lambda self: self.inside + self.probes > 0)
    @rule(content=st.integers(0, 7))
    def fail(self, content: int) -> None:
        was_half_open = self.breaker.mood is Mood.HALF_OPEN
        self.blamed.add(content)
        opens = was_half_open or len(self.blamed) == FAULTS_MAX
        assert self.breaker.failed(content, self.now) == (self.blamed if opens else frozenset())
        self._leave()
        if opens:
            self._has_opened()

    @precondition(lambda self: self.inside + self.probes > 0)
    @rule()
    def run_out(self) -> None:
        assert self.breaker.exhausted(self.now) == self.blamed
        self._leave()
        self._has_opened()

    @precondition(lambda self: self.probes > 0)
    @rule()
    def give_up(self) -> None:
        self.breaker.abandoned()
        self.probes = 0

    def _leave(self) -> None:
        if self.probes:
            self.probes = 0
        else:
            self.inside -= 1

    def _has_opened(self) -> None:
        self.probes = 0
        self.blamed.clear()
        assert self.breaker.mood is Mood.OPEN
        assert self.breaker.retry_at == self.now + OPEN_S

    @invariant()
    def there_is_never_more_than_one_probe(self) -> None:
        assert self.probes == (1 if self.breaker.mood is Mood.HALF_OPEN else 0)

    @invariant()
    def it_is_never_stuck(self) -> None:
        """Unless a probe is on its way, the next one may pass within the time."""
        assert self.breaker.mood is not Mood.OPEN or self.breaker.retry_at is not None
        assert self.breaker.retry_at is None or self.breaker.retry_at <= self.now + OPEN_S


TestBreakerAmongLanes = BreakerAmongLanes.TestCase
