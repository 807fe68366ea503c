"""The circuit breaker: it stops the sending when the server is sick, and finds out with one probe when it is well."""

import enum

FAULTS_MAX = 5
OPEN_S = 30.0


class Mood(enum.StrEnum):
    CLOSED = "closed"  # all may pass
    OPEN = "open"  # nobody may pass until `retry_at`
    HALF_OPEN = "half_open"  # one probe is under way


class Breaker:
    """Opens after `FAULTS_MAX` consecutive faults of different contents; half-open, exactly one probe passes.

    One content that fails again and again speaks against the content, not against the server: it counts once.
    Times are monotonic seconds.
    """

    def __init__(self) -> None:
        self._suspects: set[int] = set()
        self._retry_at: float | None = None
        self._probing = False

    def __repr__(self) -> str:
        return f"Breaker({self.mood}, {len(self._suspects)} of {FAULTS_MAX} faults)"

    @property
    def mood(self) -> Mood:
        if self._probing:
            return Mood.HALF_OPEN
        return Mood.CLOSED if self._retry_at is None else Mood.OPEN

    @property
    def retry_at(self) -> float | None:
        """When the next probe may pass, or None while all may."""
        return self._retry_at

    def admits(self, now: float) -> bool:
        """Whether a caller may go ahead now. Asking when open and due makes the caller the probe.

        Whoever was admitted must call `succeeded`, `failed`, `exhausted` or `abandoned` in the end.
        """
        if self._retry_at is None:
            return True
        if self._probing or now < self._retry_at:
            return False
        self._probing = True
        return True

    def succeeded(self) -> None:
        """The server answered as a well server does."""
        self._suspects.clear()
        self._retry_at = None
        self._probing = False

    def failed(self, content: int, now: float) -> frozenset[int]:
        """The server failed on `content`. Returns the contents whose faults were the server's, if this opened it."""
        self._suspects.add(content)
        if not self._probing and len(self._suspects) < FAULTS_MAX:
            return frozenset()
        return self._open(now)

    def exhausted(self, now: float) -> frozenset[int]:
        """This machine ran out of something: open at once, shed load."""
        return self._open(now)

    def abandoned(self) -> None:
        """An admitted caller gave up without an answer of the server: somebody else may probe."""
        self._probing = False

    def _open(self, now: float) -> frozenset[int]:
        cleared = frozenset(self._suspects)
        self._suspects.clear()
        self._probing = False
        self._retry_at = now + OPEN_S
        return cleared
