"""Rate limit on unknown tokens, per client network and per token id.

Only a possible guess counts: an unknown token that was not seen before. A program that repeats one wrong token, or
sends a revoked one, receives 401 without a delay. A token that exists is never delayed: it is looked up first.
"""

import ipaddress
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")

BURST_MAX = 10  # failures before the limit applies
REFILL_INTERVAL_S = 6.0  # one more failure is allowed after this time
ENTRIES_MAX = 10_000  # limit of each table: networks and ids, failed tokens


class TokenRateLimiter:
    """Token bucket per network and token id. `clock` returns monotonic seconds.

    Instead of a counter and its last update, each bucket is one number: the time when it is full again (GCRA).
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._refilled_at: LRUDict[str, float] = LRUDict()
        self._failed: LRUDict[bytes, None] = LRUDict()

    @property
    def entry_count(self) -> int:
        return len(self._refilled_at) + len(self._failed)

    def record_failure(self, address: str, token_id: str, digest: bytes) -> float:
        """Record an unknown token, unless it must wait; return the seconds until then, 0.0 for a token that counts.

        A repeated token counts once.
        """
        if digest in self._failed:
            return 0.0
        keys = _keys(client_network(address), token_id)
        now = self._clock()
        wait_s = max(self._refilled_at.get(key, 0.0) for key in keys) - (BURST_MAX - 1) * REFILL_INTERVAL_S - now
        if wait_s > 0:
            return wait_s
        self._failed.put(digest, None)
        for key in keys:
            self._refilled_at.put(key, max(self._refilled_at.get(key, 0.0), now) + REFILL_INTERVAL_S)
        return 0.0


def _keys(network: str, token_id: str) -> list[str]:
    """Return the bucket keys; malformed tokens have an empty id and count for the network only."""
    return [f"from {network}", *([f"for {token_id}"] if token_id else [])]


class LRUDict(Generic[K, V]):
    """Mapping that keeps the ENTRIES_MAX keys stored last."""

    def __init__(self) -> None:
        self._values: OrderedDict[K, V] = OrderedDict()

    def __contains__(self, key: K) -> bool:
        return key in self._values

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: K, default: V) -> V:
        return self._values.get(key, default)

    def put(self, key: K, value: V) -> None:
        self._values[key] = value
        self._values.move_to_end(key)
        if len(self._values) > ENTRIES_MAX:
            self._values.popitem(last=False)


def client_network(address: str) -> str:
    """Return an IPv4 address, or the /64 network of an IPv6 address.

    Providers assign at least a /64 to each customer, so a limit per IPv6 address would limit nothing.
    """
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 4:
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Network((parsed, 64), strict=False))
