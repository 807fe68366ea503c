"""Holds back the sending while the network is metered, where the system knows that: NetworkManager over D-Bus."""

import asyncio
import contextlib
import json

from splootd.bus import Bells
from splootd.core.item import State
from splootd.errors import StoreError
from splootd.gate import Gate
from splootd.logs import logger
from splootd.store.listing import Listing

LOOK_INTERVAL_S = 60.0
ANSWER_S = 3.0
ANSWER_BYTES_MAX = 1_000
ASKING = "it is being found out whether this network is metered"
METERED = "this network is metered"

# https://networkmanager.dev/docs/api/latest/gdbus-org.freedesktop.NetworkManager.html, property Metered
_SERVICE = "org.freedesktop.NetworkManager"
_QUESTION = (
    *("busctl", "--system", "--auto-start=no", "--json=short", "get-property"),
    *(_SERVICE, "/org/freedesktop/NetworkManager", _SERVICE, "Metered"),
)
_METERED = frozenset({1, 3})  # NM_METERED_YES and NM_METERED_GUESS_YES


class Metered:
    """Asks at the start, then at most once in LOOK_INTERVAL_S, and only while there is something to send.

    A system that does not answer has no metered network.
    """

    def __init__(self, listing: Listing, bells: Bells, gate: Gate) -> None:
        self._listing = listing
        self._bells = bells
        self._gate = gate
        self._log = logger("metered")

    async def run(self) -> None:
        while True:
            ticket = self._bells.work.ticket()
            await self.run_once()
            await asyncio.sleep(LOOK_INTERVAL_S)
            if not await self._is_anything_to_send():
                await self._bells.work.wait(ticket, None)

    async def run_once(self) -> None:
        reason = METERED if await asks_for_thrift() else None
        if reason != self._gate.held_for:
            self._log.info("network", metered=reason is not None)
            self._gate.hold(reason)

    async def _is_anything_to_send(self) -> bool:
        try:
            counts = (await self._listing.counts()).by_state
        except StoreError:
            return True
        return counts[State.PENDING] + counts[State.UPLOADING] > 0


async def asks_for_thrift() -> bool:
    """Whether the system says that its network is metered, or guesses so."""
    try:
        asked = await asyncio.create_subprocess_exec(
            *_QUESTION,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except OSError:  # there is no such program
        return False
    assert asked.stdout is not None
    try:
        async with asyncio.timeout(ANSWER_S):
            answer = await asked.stdout.read(ANSWER_BYTES_MAX)
    except TimeoutError:
        answer = b""
    finally:
        await _end(asked, asked.stdout)
    return metered_in(answer)


async def _end(asked: asyncio.subprocess.Process, rest: asyncio.StreamReader) -> None:
    """See it gone. What it said too much is read, because a full pipe would keep it from being waited for."""
    with contextlib.suppress(ProcessLookupError):
        asked.kill()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(ANSWER_S):
            while await rest.read(ANSWER_BYTES_MAX):
                pass
            await asked.wait()


def metered_in(answer: bytes) -> bool:
    """What busctl says: {"type":"u","data":1}."""
    try:
        return json.loads(answer)["data"] in _METERED
    except (ValueError, KeyError, TypeError):
        return False
