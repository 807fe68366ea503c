"""How often the server is asked whether its embeddings are done, and when one is held to be stuck."""

import enum
import math

ASK_MAX = 50  # ids per request: the server's own limit
REQUEST_INTERVAL_S = 2.0  # at most one request in this time, whatever the number of files
CALM_INTERVAL_S = 10.0  # the same while the server pushes
ASK_AGAIN_MAX_S = 60.0
CHECK_AGAIN_MAX_S = 600.0
TRIES_MAX = 3  # to have a stuck embedding made after all
STUCK_MAX = 10_000  # items that are tried at a time
BARREN_MAX = 5  # pages of a list: so much may have come in between from elsewhere


def ask_again_at(*, accepted_at: float, now: float) -> float:
    """When to ask again about a content that is still embedding.

    A quarter of the time it has already taken: new ones are asked about often, old ones rarely, and one that is stuck
    never stands in the way of the rest.
    """
    waited_s = max(0.0, now - accepted_at)
    return now + min(max(waited_s / 4, REQUEST_INTERVAL_S), ASK_AGAIN_MAX_S)


def check_again_at(*, now: float, chance: float) -> float:
    """When to ask about a content whose end the server is to push: rarely, and not about all of them at once.

    `chance` is between 0 and 1; the caller draws it, so a test can too.
    """
    return now + CHECK_AGAIN_MAX_S * (0.5 + chance / 2)


class Pace:
    """Keeps requests `REQUEST_INTERVAL_S` apart, or `CALM_INTERVAL_S`. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._next_at = 0.0

    def wait_s(self, now: float) -> float:
        """Seconds until the next request is allowed."""
        return max(0.0, self._next_at - now)

    def asked(self, now: float, *, calm: bool = False) -> None:
        self._next_at = now + (CALM_INTERVAL_S if calm else REQUEST_INTERVAL_S)


class Pages:
    """Which page of a long list of `size` rows a page to read after the first one, while much is looked for in it.

    None after its end, or once BARREN_MAX pages in a row had nothing: `begin` starts over.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self.begin()

    def begin(self) -> None:
        self.offset: int | None = self._size
        self._barren = 0

    def read(self, *, rows: int, found: int) -> None:
        """The page at `offset` had so many rows, and so many of them were looked for."""
        assert self.offset is not None
        self._barren = 0 if found else self._barren + 1
        is_over = rows < self._size or self._barren >= BARREN_MAX
        self.offset = None if is_over else self.offset + self._size


class Step(enum.Enum):
    """What to do about an embedding that is still pending."""

    WAIT = enum.auto()
    TRY = enum.auto()
    GIVE_UP = enum.auto()


class Patience:
    """Knows which embeddings are stuck. Times are seconds since the epoch.

    A server with a long backlog is slow, not stuck. One embedding is stuck when none at all has ended for `patience_s`,
    or when it was overtaken: one that came so much later has ended.
    """

    def __init__(self, patience_s: float, *, now: float) -> None:
        self._patience_s = patience_s
        self._ended_at = now
        self._newest_ended = -math.inf  # when the newest of those that have ended was accepted
        self._tries: dict[int, tuple[int, float]] = {}  # item to how often, and when last

    def ended(self, item_id: int, *, accepted_at: float, now: float) -> None:
        """An embedding has ended, well or not."""
        self._ended_at = now
        self._newest_ended = max(self._newest_ended, accepted_at)
        self._tries.pop(item_id, None)

    def step(self, item_id: int, *, accepted_at: float, now: float) -> Step:
        """What to do about an embedding that the server calls pending. A TRY is then under way."""
        # What is still to come was written down before the clock was set back: it was some time ago.
        self._ended_at, self._newest_ended = min(self._ended_at, now), min(self._newest_ended, now)
        silent_s = now - (self._ended_at if accepted_at > now else max(accepted_at, self._ended_at))
        if max(silent_s, self._newest_ended - accepted_at) < self._patience_s:
            return Step.WAIT
        tries, tried_at = self._tries.get(item_id, (0, -math.inf))
        if 0 <= now - tried_at < self._patience_s / 2 or (not tries and len(self._tries) >= STUCK_MAX):
            return Step.WAIT
        if tries >= TRIES_MAX:
            del self._tries[item_id]
            return Step.GIVE_UP
        self._tries[item_id] = (tries + 1, now)
        return Step.TRY
