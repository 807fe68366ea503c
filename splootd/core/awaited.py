"""How often the server is asked whether its embeddings are done."""

ASK_MAX = 50  # ids per request: the server's own limit
REQUEST_INTERVAL_S = 2.0  # at most one request in this time, whatever the number of files
ASK_AGAIN_MAX_S = 60.0


def ask_again_at(*, accepted_at: float, now: float) -> float:
    """When to ask again about a content that is still embedding.

    A quarter of the time it has already taken: new ones are asked about often, old ones rarely, and one that is stuck
    never stands in the way of the rest.
    """
    waited_s = max(0.0, now - accepted_at)
    return now + min(max(waited_s / 4, REQUEST_INTERVAL_S), ASK_AGAIN_MAX_S)


class Pace:
    """Keeps requests `REQUEST_INTERVAL_S` apart. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._next_at = 0.0

    def wait_s(self, now: float) -> float:
        """Seconds until the next request is allowed."""
        return max(0.0, self._next_at - now)

    def asked(self, now: float) -> None:
        self._next_at = now + REQUEST_INTERVAL_S
