"""How often somebody may be wrong: tokens that nobody was given are counted, per address and per token id.

Only what could be a guess counts: a token that has never been seen. A program that shows the same wrong token again,
or one that was revoked, is told that it is signed out, however often it asks; and whoever was let in from an address
with a token is not made to wait there with it, whatever others at that address, or with that id, do.
"""

import ipaddress
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")

GUESSES_MAX = 10  # at once
REFILL_S = 6.0  # until one more is allowed
REMEMBERED_MAX = 10_000  # addresses, ids, wrong tokens, right ones: each


class Guesses:
    """`clock` gives monotonic seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._full_at: Latest[str, float] = Latest()  # when all guesses are allowed again
        self._wrong: Latest[bytes, None] = Latest()
        self._right: Latest[tuple[str, bytes], None] = Latest()

    @property
    def remembered(self) -> int:
        return len(self._full_at) + len(self._wrong) + len(self._right)

    def wait_s(self, address: str, token_id: str, digest: bytes) -> float:
        """How long to wait before this token may be tried from this address; 0.0 if it may be now."""
        network = network_of(address)
        if digest in self._wrong or (network, digest) in self._right:
            return 0.0
        spare_s = (GUESSES_MAX - 1) * REFILL_S
        full_at = max(self._full_at.get(key, 0.0) for key in _keys(network, token_id))
        return max(0.0, full_at - spare_s - self._clock())

    def wrong(self, address: str, token_id: str, digest: bytes) -> None:
        """It is nobody's."""
        if digest in self._wrong:
            return
        self._wrong.put(digest, None)
        for key in _keys(network_of(address), token_id):
            self._full_at.put(key, max(self._full_at.get(key, 0.0), self._clock()) + REFILL_S)

    def right(self, address: str, digest: bytes) -> None:
        """It is, or once was, somebody's."""
        self._right.put((network_of(address), digest), None)


def _keys(network: str, token_id: str) -> list[str]:
    """What is not of the form of a token has no id to be counted for."""
    return [f"from {network}", *([f"for {token_id}"] if token_id else [])]


class Latest(Generic[K, V]):
    """A mapping of what was put last: at most REMEMBERED_MAX keys."""

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
        if len(self._values) > REMEMBERED_MAX:
            self._values.popitem(last=False)


def network_of(address: str) -> str:
    """An IPv4 address, or the /64 an IPv6 address is in: one customer of a provider has all of that."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 4:
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Network((parsed, 64), strict=False))
