"""Estimate from a server's responses what an upload costs, and whether a lookup by hash pays before it."""

ROUND_TRIP_S = 0.05  # the estimates before the first response
BYTES_PER_S = 1_000_000.0
DUPLICATE_SHARE = 0.05
WEIGHT = 0.05  # of the latest observation: about the last twenty count
TRANSFER_S_MIN = 0.001
LONG_UPLOAD_S = 5.0  # uploads that take longer leave one connection to control requests


def worth_checking(size: int, rtt_s: float, bytes_per_s: float, duplicate_share: float) -> bool:
    """Return whether a lookup by hash takes less time than it saves on average.

    It takes one round trip, and saves the transfer of `size` bytes if the server has the content already. Without the
    lookup Sploot answers such an upload with 409, which says the same.
    """
    return duplicate_share * size / bytes_per_s > rtt_s


class UploadCosts:
    """Averages over the latest responses of one server."""

    def __init__(self) -> None:
        self.rtt_s = ROUND_TRIP_S
        self.duplicate_share = DUPLICATE_SHARE
        self._bytes, self._transfer_s = BYTES_PER_S, 1.0  # of the latest uploads, the older ones weighted less

    def __repr__(self) -> str:
        return (
            f"UploadCosts({self.rtt_s:.3f} s, {self.bytes_per_s:,.0f} bytes/s, {self.duplicate_share:.0%} duplicates)"
        )

    @property
    def bytes_per_s(self) -> float:
        """The rate of one upload, the time included in which the server processes it."""
        return self._bytes / self._transfer_s

    def record_round_trip(self, seconds: float) -> None:
        """Record a request without a body of notable size."""
        self.rtt_s += WEIGHT * (seconds - self.rtt_s)

    def record_content(self, *, is_duplicate: bool) -> None:
        """Record whether the server had a content already."""
        self.duplicate_share += WEIGHT * (is_duplicate - self.duplicate_share)

    def record_upload(self, size: int, seconds: float) -> None:
        """Record an upload of `size` bytes."""
        self._bytes += WEIGHT * (size - self._bytes)
        self._transfer_s += WEIGHT * (max(TRANSFER_S_MIN, seconds - self.rtt_s) - self._transfer_s)

    def worth_checking(self, size: int) -> bool:
        """Return whether to look a new content of `size` bytes up before it is sent."""
        return worth_checking(size, self.rtt_s, self.bytes_per_s, self.duplicate_share)

    def is_long(self, size: int) -> bool:
        """Return whether an upload of `size` bytes takes so long that a control request should not wait for it."""
        return self.rtt_s + size / self.bytes_per_s > LONG_UPLOAD_S
