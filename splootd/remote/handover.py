"""Files that a library on this machine takes itself: they are named, and their bytes go over no line."""

import contextlib
import itertools
import math
from collections.abc import Sequence

from splootd.budget import Budget
from splootd.clock import Clock
from splootd.errors import BadAnswer, BrokenOff, ServerFault
from splootd.remote.answers import Stored
from splootd.remote.api import Server
from splootd.remote.delivery import Delivered, Parcel, enclosed
from splootd.remote.gathering import Gathering

HAND_OVER_BYTES_MAX = 32 * 1024 * 1024  # of files in one request, so that urgent ones never wait long
REQUESTS_MAX = 2  # of each rank: while the disk syncs the files of one, those of the next are copied
FAILED_MAX = 3  # requests in a row; then files are sent as ever
FAILED_S = 60.0  # for so long

_Outcome = Delivered | None


class HandOver:
    """Groups of parcels, of which those that wait together go into one request."""

    def __init__(self, server: Server, lines: Budget, clock: Clock) -> None:
        self._server = server
        self._clock = clock
        self._lines = lines
        self._gatherings: dict[int, Gathering[Sequence[Parcel], Sequence[_Outcome]]] = {}  # by rank
        self._failed = 0
        self._held_until = -math.inf  # monotonic

    @property
    def files_max(self) -> int:
        """How many files may be named in one request; 0 where they are to be sent."""
        limits = self._server.last_limits
        return limits.hand_over_max if limits and self._clock.monotonic() >= self._held_until else 0

    async def take(self, parcels: Sequence[Parcel]) -> Sequence[_Outcome]:
        """What the library has now; None for what it did not take, or nobody knows: that is to be sent, as ever."""
        rank = parcels[0].rank
        gathering = self._gatherings.get(rank)
        if gathering is None:
            gathering = self._gatherings[rank] = Gathering(
                self._carry,
                line=lambda: self._lines.reserve(1, rank=rank),
                fitting=self._fitting,
                requests_max=REQUESTS_MAX,
            )
        return await gathering.ask(parcels, may_go=parcels[0].may_go)

    async def _carry(self, groups: Sequence[Sequence[Parcel]]) -> Sequence[Sequence[_Outcome]]:
        if not self.files_max:  # those before them have failed
            return [[None] * len(group) for group in groups]
        parcels = [parcel for group in groups for parcel in group]
        with contextlib.ExitStack() as showing:
            files = enclosed(parcels, showing)
            try:
                outcomes = await self._server.hand_over(files)
            except (BrokenOff, ServerFault, BadAnswer):
                self._failed += 1
                if self._failed >= FAILED_MAX:
                    self._held_until = self._clock.monotonic() + FAILED_S
                return [[None] * len(group) for group in groups]
        self._failed = 0
        delivered = iter([_delivered(parcel, outcome) for parcel, outcome in zip(parcels, outcomes, strict=True)])
        return [list(itertools.islice(delivered, len(group))) for group in groups]

    def _fitting(self, waiting: Sequence[Sequence[Parcel]]) -> int:
        """As many of the first groups as one request may name."""
        files, size, count = 0, 0, 0
        for group in waiting:
            files += len(group)
            size += sum(parcel.content.size for parcel in group)
            if files > self.files_max or size > HAND_OVER_BYTES_MAX:
                break
            count += 1
        return min(len(waiting), max(1, count))


def _delivered(parcel: Parcel, outcome: Stored | Exception) -> _Outcome:
    if not isinstance(outcome, Stored):
        return None
    return Delivered(outcome.asset_id, outcome.duplicate, embedded=False, sent_bytes=parcel.content.size)
