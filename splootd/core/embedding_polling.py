"""Polling schedule for pending embeddings and detection of stuck ones."""

import enum
import math
from collections import deque
from collections.abc import Iterable

IDS_PER_POLL_MAX = 50  # ids per request: the server's limit
POLL_INTERVAL_S = 2.0  # minimum time between requests, independent of the number of files
POLL_INTERVAL_WITH_PUSH_S = 10.0  # the same while the push channel is connected
POLL_DELAY_MAX_S = 60.0
FALLBACK_POLL_DELAY_MAX_S = 600.0
EMBEDDING_RETRIES_MAX = 3  # requests to restart a stuck embedding, at least, before it is given up
UNREQUESTED_DELAY_S = 10.0  # then an embedding is requested that the server was never asked for
PATIENCE_FACTOR = 20.0  # times what 95 % of the embeddings take
PATIENCE_MIN_S = 60.0
DURATIONS_MAX = 200  # recent embeddings that are measured
STUCK_MAX = 10_000  # items retried at the same time
PAGE_SIZES = (50, 200, 1_000)  # assets per page of the list; a page of 1,000 has about 1 MB
EMPTY_PAGES_MAX = 5  # consecutive pages without a match: other clients may have uploaded that many in between


def next_poll_at(*, accepted_at: float, now: float) -> float:
    """Return the time of the next poll for a content that is still embedding.

    The delay is a quarter of the time already waited: new contents are polled often, old ones rarely. A stuck
    content therefore never uses up the request budget of the others.
    """
    waited_s = max(0.0, now - accepted_at)
    return now + min(max(waited_s / 4, POLL_INTERVAL_S), POLL_DELAY_MAX_S)


def next_fallback_poll_at(*, now: float, chance: float) -> float:
    """Return the time of the next poll for a content whose completion the server pushes.

    The poll is rare and spread by `chance` (0 to 1, drawn by the caller), so that a lost push message does not leave
    an item embedding forever and the polls of many items do not coincide.
    """
    return now + FALLBACK_POLL_DELAY_MAX_S * (0.5 + chance / 2)


class PollRateLimit:
    """Keeps requests `POLL_INTERVAL_S` apart, or `POLL_INTERVAL_WITH_PUSH_S`. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._next_at = 0.0

    def wait_s(self, now: float) -> float:
        """Return the seconds until the next request is allowed."""
        return max(0.0, self._next_at - now)

    def record_poll(self, now: float, *, has_push: bool = False) -> None:
        self._next_at = now + (POLL_INTERVAL_WITH_PUSH_S if has_push else POLL_INTERVAL_S)


def page_size_for(pending: int) -> int:
    """Return how many of the newest assets to list for this number of pending embeddings."""
    return next((each for each in PAGE_SIZES if each >= pending), PAGE_SIZES[-1])


class PageCursor:
    """Position in a long list that is read page by page after the first page, `size` rows each.

    `offset` is 0 at the start, and None after the end or after `EMPTY_PAGES_MAX` consecutive pages without a match;
    `reset` starts over.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self.reset()

    def reset(self) -> None:
        self.offset: int | None = 0
        self._empty_pages = 0

    def advance(self, offset: int, *, rows: int, matches: int) -> None:
        """Move on after the page at `offset` with this number of rows, `matches` of them wanted."""
        self._empty_pages = 0 if matches else self._empty_pages + 1
        is_over = rows < self._size or self._empty_pages >= EMPTY_PAGES_MAX
        self.offset = None if is_over else offset + self._size


class StuckAction(enum.Enum):
    """Action for an embedding that is still pending."""

    WAIT = enum.auto()
    RETRY = enum.auto()
    GIVE_UP = enum.auto()


class StuckDetector:
    """Detects stuck embeddings. Times are seconds since the epoch.

    Patience is 20 times what 95 % of the others take, at least a minute and at most `timeout_s`. A server with a long
    backlog is slow, not stuck. An embedding is stuck when none has completed on its own within the patience, or when it
    was overtaken: one accepted so much later has completed. An embedding that the server was never asked for is stuck
    after 10 s. It is given up after `EMBEDDING_RETRIES_MAX` requests, but not before `timeout_s`.
    """

    def __init__(self, timeout_s: float, *, now: float) -> None:
        self._timeout_s = timeout_s
        self._started_at = now  # replaces acceptance times that are in the future
        self._last_completed_at = -math.inf
        self._newest_completed = -math.inf  # the latest acceptance time among the completed embeddings
        self._durations: deque[float] = deque(maxlen=DURATIONS_MAX)
        self._retries: dict[int, tuple[int, float]] = {}  # item id: number of retries, time of the last one

    def restore(self, durations: Iterable[float]) -> None:
        """Continue with the durations that an earlier run measured."""
        self._durations.extend(durations)

    @property
    def patience_s(self) -> float:
        if not self._durations:
            return self._timeout_s
        p95 = sorted(self._durations)[int(0.95 * len(self._durations))]
        return min(max(PATIENCE_FACTOR * p95, PATIENCE_MIN_S), self._timeout_s)

    def record_completion(self, item_id: int, *, accepted_at: float, now: float) -> None:
        """Record the end of an embedding, successful or failed. One that was requested is no sign of progress."""
        if self._retries.pop(item_id, None) is None:
            self._last_completed_at = now
            self._newest_completed = max(self._newest_completed, accepted_at)
            self._durations.append(max(0.0, now - accepted_at))

    def next_action(self, item_id: int, *, accepted_at: float, now: float, is_requested: bool = True) -> StuckAction:
        """Return the action for an embedding that the server reports as pending. RETRY counts as one retry."""
        # A recorded time in the future was written before the wall clock was set back. Without this clamp the idle
        # time stays negative until the clock catches up, and nothing is detected as stuck.
        self._last_completed_at, self._newest_completed, self._started_at = (
            min(each, now) for each in (self._last_completed_at, self._newest_completed, self._started_at)
        )
        accepted_at = self._started_at if accepted_at > now else accepted_at
        waited_s, patience_s = now - accepted_at, self.patience_s
        idle_s = now - max(accepted_at, self._last_completed_at)
        if max(idle_s, self._newest_completed - accepted_at) < patience_s and (
            is_requested or waited_s < UNREQUESTED_DELAY_S
        ):
            return StuckAction.WAIT
        retries, retried_at = self._retries.get(item_id, (0, -math.inf))
        gap_s = min(patience_s * 2.0 ** (retries - 1), self._timeout_s) / 2
        if 0 <= now - retried_at < gap_s or (not retries and len(self._retries) >= STUCK_MAX):
            return StuckAction.WAIT
        if retries >= EMBEDDING_RETRIES_MAX and waited_s >= self._timeout_s:
            del self._retries[item_id]
            return StuckAction.GIVE_UP
        self._retries[item_id] = (retries + 1, now)
        return StuckAction.RETRY
