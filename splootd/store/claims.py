"""Who is next: claims that wait together are served together, by one statement for each shard and class."""

import asyncio
import bisect
import itertools
import secrets
import sqlite3
from asyncio import CancelledError
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from splootd.core.item import Item, Leased, Priority
from splootd.store import answers
from splootd.store.database import Database
from splootd.store.queries import SQL
from splootd.store.rows import item_of, json_list

GROUP_MAX = 1_000  # items claimed in one operation: so long other writes of its group wait

_Lost = tuple[str, str]  # the first and the last of a range of leases


@dataclass(eq=False, slots=True)
class _Wish:
    """A claim that waits: from which shard, any if None, after urgent items of which classes, and how many at most."""

    shard: int | None
    later: Sequence[Priority]
    limit: int
    now: float
    answer: asyncio.Future[list[Leased]]


@dataclass(eq=False, slots=True)
class _Line:
    """Claims that wait together, and who serves them."""

    is_express: bool
    wishes: list[_Wish] = field(default_factory=list)
    serving: asyncio.Task[None] | None = None

    def take(self) -> list[_Wish]:
        """The first of those who wait, who together want no more than GROUP_MAX."""
        wanted = list(itertools.accumulate(wish.limit for wish in self.wishes))
        count = bisect.bisect_right(wanted, GROUP_MAX)
        group, self.wishes = self.wishes[:count], self.wishes[count:]
        return group


class Claims:
    """The claims of one queue. `claimed(lost)` is called after each group that has changed anything.

    A lease is `boot:group.item`. One that nobody learned of, since its claim was cancelled or its COMMIT ended with an
    error, is given back by the next group.

    Claims of urgent items alone stand in a line of their own, so that they never wait for a group of others.
    """

    def __init__(self, database: Database, *, server_id: int, boot: str, claimed: Callable[[bool], None]) -> None:
        self._database = database
        self._server_id = server_id
        self._boot = boot
        self._claimed = claimed
        self._express, self._regular = _Line(is_express=True), _Line(is_express=False)
        self._lost: set[_Lost] = set()

    async def claim(
        self, shard: int | None, *, later: Sequence[Priority] = (), limit: int = 1, now: float
    ) -> list[Leased]:
        """Lease the next items: urgent ones, then those of the classes in `later`."""
        if not 1 <= limit <= GROUP_MAX:
            raise ValueError(f"{limit} items in one claim; 1 to {GROUP_MAX} are allowed")
        wish = _Wish(shard, later, limit, now, asyncio.get_running_loop().create_future())
        line = self._express if shard is None else self._regular
        line.wishes.append(wish)
        if line.serving is None or line.serving.done():
            line.serving = asyncio.create_task(self._serve(line), name="claims")
        try:
            return await wish.answer
        except CancelledError:
            line.wishes = [each for each in line.wishes if each is not wish]
            self._lose(wish)
            raise

    async def _serve(self, line: _Line) -> None:
        """Group after group, until nobody waits any more."""
        while line.wishes:
            group = line.take()
            token, lost = f"{self._boot}:{secrets.token_hex(8)}", frozenset(self._lost)
            try:
                op = partial(self._claim, group=group, token=token, lost=lost)
                given = await self._database.write(op, urgent=line.is_express)
            except BaseException as error:  # whatever it is, those who wait must hear of it
                self._lost.add((f"{token}.", f"{token}/"))  # all of the group: "/" follows "."
                for wish in group:
                    _refuse(wish, error)
                if isinstance(error, CancelledError):
                    raise
            else:
                self._lost -= lost
                for wish, leased in zip(group, given, strict=True):
                    if wish.answer.done():  # its caller was cancelled meanwhile
                        self._lost.update((each.lease, each.lease) for each in leased)
                    else:
                        wish.answer.set_result(leased)
                if lost or any(given):
                    self._claimed(bool(lost))

    def _lose(self, wish: _Wish) -> None:
        """Its caller was cancelled: what it was given in the same moment is to be given back."""
        answer = wish.answer
        if answer.done() and not answer.cancelled() and answer.exception() is None:
            self._lost.update((each.lease, each.lease) for each in answer.result())

    def _claim(
        self, connection: sqlite3.Connection, *, group: Sequence[_Wish], token: str, lost: frozenset[_Lost]
    ) -> list[list[Leased]]:
        """What each wish of the group is given."""
        now = max(wish.now for wish in group)
        for first, last in lost:
            gone = {"first": first, "last": last, "superseded": answers.SUPERSEDED, "now": now}
            connection.execute(SQL["give_back"], gone)
        giving = _Giving(connection, group, server_id=self._server_id, token=token, now=now)
        giving.give_urgent()
        for choice in range(max(len(wish.later) for wish in group)):
            giving.give([(wish, wish.later[choice]) for wish in group if choice < len(wish.later)])
        return list(giving.given.values())


class _Giving:
    """One transaction's worth of claims: what each wish is given is looked up, and leased."""

    def __init__(
        self, connection: sqlite3.Connection, group: Sequence[_Wish], *, server_id: int, token: str, now: float
    ) -> None:
        self.given: dict[_Wish, list[Leased]] = {wish: [] for wish in group}
        self._cursor = connection.cursor()
        self._cursor.row_factory = None  # plain tuples take half the time to make and to read
        self._server_id = server_id
        self._token = token
        self._now = now

    def give_urgent(self) -> None:
        """One look tells whether there is anything urgent, in whichever shard."""
        if self._cursor.execute(SQL["is_urgent"], {"server_id": self._server_id}).fetchall():
            self.give([(wish, Priority.URGENT) for wish in self.given])

    def give(self, wanted: Sequence[tuple[_Wish, Priority]]) -> None:
        """One look for all who want the same, in the order in which they came, and one lease for all that is found."""
        alike: defaultdict[tuple[int | None, Priority], list[_Wish]] = defaultdict(list)
        for wish, priority in wanted:
            if len(self.given[wish]) < wish.limit:
                alike[wish.shard, priority].append(wish)
        ids: list[int] = []
        for (shard, priority), wishes in alike.items():
            left = [wish.limit - len(self.given[wish]) for wish in wishes]
            items = self._next(shard, priority, limit=sum(left))
            ids += [item.id for item in items]
            leased = [Leased(item, f"{self._token}.{item.id}") for item in items]
            for wish, first, count in zip(wishes, itertools.accumulate(left, initial=0), left, strict=False):
                self.given[wish] += leased[first : first + count]
        if ids:
            self._cursor.execute(SQL["claim"], {"token": self._token, "ids": json_list(ids), "now": self._now})

    def _next(self, shard: int | None, priority: Priority, *, limit: int) -> list[Item]:
        values = {"server_id": self._server_id, "shard": shard, "priority": priority, "limit": limit}
        rows = self._cursor.execute(SQL["urgent" if shard is None else "claimable"], values)
        return [item_of(row, leased_at=self._now) for row in rows]


def _refuse(wish: _Wish, error: BaseException) -> None:
    if wish.answer.done():
        return
    if isinstance(error, CancelledError):
        wish.answer.cancel()
    else:
        wish.answer.set_exception(error)
