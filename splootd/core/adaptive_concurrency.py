"""Upload concurrency that adapts to the server's embedding backlog."""

BACKLOG_THRESHOLD = 200  # outstanding embeddings: minutes of work for any server
ADJUST_INTERVAL_S = 10.0


class AdaptiveConcurrency:
    """Additive decrease while a large backlog grows, additive increase otherwise.

    This never starves the server: uploads slow down only while the server has minutes of embedding work queued, and
    its embedding throughput does not depend on uploads during that time.
    """

    def __init__(self, concurrency_max: int) -> None:
        self.concurrency_max = concurrency_max
        self.concurrency = concurrency_max
        self._outstanding = 0

    def __repr__(self) -> str:
        return f"AdaptiveConcurrency({self.concurrency} of {self.concurrency_max}, {self._outstanding} outstanding)"

    def update(self, outstanding: int) -> int:
        """Record the number of outstanding embeddings and return the allowed concurrency, at least 1."""
        is_growing = outstanding > BACKLOG_THRESHOLD and outstanding > self._outstanding
        self._outstanding = outstanding
        self.concurrency = (
            max(1, self.concurrency - 1) if is_growing else min(self.concurrency_max, self.concurrency + 1)
        )
        return self.concurrency
