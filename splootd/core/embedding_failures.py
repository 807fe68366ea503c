"""Count the embeddings that fail in a row: so many of them mean that the server's model is down."""

from splootd.core.backoff import doubled_s

FAILURES_MAX = 5
RETRY_DELAY_MIN_S = 60.0
RETRY_DELAY_MAX_S = 3_600.0


class EmbeddingFailures:
    """The embeddings that have failed in a row, and how long to wait for the model until the next probe."""

    def __init__(self) -> None:
        self.count = 0
        self._delays = 0

    def record_ready(self) -> None:
        self.count = self._delays = 0

    def record_failed(self) -> bool:
        """Return whether this failure is one too many: the FAILURES_MAX-th, and each multiple of it."""
        self.count += 1
        return self.count % FAILURES_MAX == 0

    def next_delay_s(self) -> float:
        """Return the seconds until the next probe: 0, then 60 s, 120 s, ... an hour, until an embedding is ready.

        The first probe is immediate, because five broken images in a row say nothing about the model.
        """
        self._delays += 1
        return 0.0 if self._delays == 1 else doubled_s(RETRY_DELAY_MIN_S, self._delays - 2, RETRY_DELAY_MAX_S)
