"""Items that a lane takes together, where the library is on this machine: surveyed, handed over, answered as one."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Sequence

from splootd.budget import Budget
from splootd.core.item import Leased, Version
from splootd.errors import ItemError
from splootd.gate import Gate
from splootd.metrics import Traffic
from splootd.remote.answers import Limits
from splootd.remote.delivery import Delivered, Parcel
from splootd.remote.handover import HAND_OVER_BYTES_MAX, HandOver
from splootd.store.answers import Accepted
from splootd.store.ledger import Ledger
from splootd.work.files import Content, MemoryBudget, called, look, survey
from splootd.work.outcome import Outcome
from splootd.work.turns import Turns

SURVEYS_MAX = 2  # at once: they keep the processors busy, and what is urgent waits for a thread no longer than that

_Surveyed = tuple[Leased, Content]


class Groups:
    """Takes groups as far as they go together."""

    def __init__(
        self,
        ledger: Ledger,
        outcome: Outcome,
        hand_over: HandOver,
        turns: Turns,
        gate: Gate,
        *,
        budget: MemoryBudget,
        traffic: Traffic,
    ) -> None:
        self._ledger = ledger
        self._outcome = outcome
        self._hand_over = hand_over
        self._turns = turns
        self._gate = gate
        self._budget = budget
        self._traffic = traffic
        self._surveys = Budget(SURVEYS_MAX)

    async def take(
        self,
        group: dict[int, Leased],
        limits: Limits,
        may_go: Callable[[], None],
        parcel: Callable[[Leased, Content], Parcel],
    ) -> None:
        """Answer what can be answered together, and take it out of `group`; what is left there goes on alone."""
        for part in list(_parts(list(group.values()), self._hand_over.files_max)):
            may_go()
            surveyed = await self._surveyed(part, limits)
            async with contextlib.AsyncExitStack() as turns:
                mine: list[_Surveyed] = []
                known = await self._ledger.known([content.sha256 for _, content in surveyed])
                for leased, content in surveyed:
                    if content.sha256 not in known and self._turns.is_free(content.sha256):
                        await turns.enter_async_context(self._turns.of(content.sha256))
                        mine.append((leased, content))
                if mine:
                    await self._handed_over(mine, group, parcel)

    async def _surveyed(self, part: Sequence[Leased], limits: Limits) -> list[_Surveyed]:
        """Those of which nothing is to be said but what they hold."""
        rank = part[0].item.priority
        wanted = [(leased.item.path, leased.item.version) for leased in part]
        async with self._surveys.reserve(1, rank):
            with self._traffic.load.at("reading"):
                found = await survey(wanted, budget=self._budget, limits=limits, rank=rank)
        return [
            (leased, content)
            for leased, content in zip(part, found, strict=True)
            if isinstance(content, Content) and content.is_whole and not leased.item.force
        ]

    async def _handed_over(
        self, mine: Sequence[_Surveyed], group: dict[int, Leased], parcel: Callable[[Leased, Content], Parcel]
    ) -> None:
        try:
            outcomes = await self._hand_over.take([parcel(leased, content) for leased, content in mine])
        except ItemError as error:
            for leased, _ in mine:
                del group[leased.item.id]
            await asyncio.gather(*(self._outcome.failed(leased, error, content=each.sha256) for leased, each in mine))
            return
        taken = [(*each, delivered) for each, delivered in zip(mine, outcomes, strict=True) if delivered]
        if taken:
            self._gate.succeeded()
            await self._answered(taken, group)

    async def _answered(self, taken: Sequence[tuple[Leased, Content, Delivered]], group: dict[int, Leased]) -> None:
        """What the library has it has, wherever the file is now; a new version of it follows."""
        versions = await asyncio.to_thread(_versions, [content.path for _, content, _ in taken])
        accepted: list[Accepted] = []
        for (leased, content, delivered), version in zip(taken, versions, strict=True):
            self._traffic.record(delivered.sent_bytes)
            if version is None or version == content.version:
                there = (delivered.asset_id, content.sha256, delivered.duplicate, delivered.embedded)
                accepted.append(Accepted(leased, *there))
            else:
                reason = f"{called(content.path)} changed while it was sent; its new version follows"
                await self._outcome.changed(leased, version, reason)
                del group[leased.item.id]
        await self._outcome.all_accepted(accepted)
        for each in accepted:
            del group[each.leased.item.id]


def _versions(paths: Sequence[bytes]) -> list[Version | None]:
    """What lies at `paths` now; None where nothing is to be found."""
    found: list[Version | None] = []
    for path in paths:
        try:
            found.append(look(path))
        except ItemError:
            found.append(None)
    return found


def _parts(group: Sequence[Leased], files_max: int) -> Iterator[Sequence[Leased]]:
    """What goes into one request each: of one rank, and small ones before large ones."""
    part: list[Leased] = []
    size = 0
    for leased in sorted(group, key=lambda each: (each.item.priority, each.item.version.size > HAND_OVER_BYTES_MAX)):
        size += leased.item.version.size
        is_full = len(part) >= files_max or size > HAND_OVER_BYTES_MAX
        if part and (is_full or part[0].item.priority != leased.item.priority):
            yield part
            part, size = [], leased.item.version.size
        part.append(leased)
    if part:
        yield part
