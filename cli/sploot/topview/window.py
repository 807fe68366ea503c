"""A long list of which only a stretch is held: what to ask for next, and where the rows of an answer belong. Pure.

Lists are paged by key, so the number of a row is known only near the two ends. In between it is an estimate, which is
put right as soon as an end comes into view.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from splootd.protocol import ItemRow

ROWS_MIN = 200  # held at least; four screens if that is more


@dataclass(frozen=True, slots=True)
class Ask:
    """A page: up to `limit` rows older than `before`, or newer than `after`, or the newest; `at` is a row number.

    Rows older than something are to begin there, rows newer than something to end there.
    """

    limit: int
    before: int | None = None
    after: int | None = None
    at: int = 0


class Window:
    """The rows `start` to `end` of a list of `length` rows, newest first."""

    def __init__(self) -> None:
        self.rows: Sequence[ItemRow] = ()
        self.start = 0
        self.is_newest = False  # the first row is the first of the list
        self.is_oldest = False
        self._total: int | None = None
        self._newest_id = 0

    def clear(self, total: int | None) -> None:
        """Nothing is known of the rows of another list but perhaps their number."""
        self.rows, self.start, self._total = (), 0, total
        self.is_newest = self.is_oldest = False

    @property
    def end(self) -> int:
        return self.start + len(self.rows)

    @property
    def length(self) -> int:
        """Of the whole list, the rows that are not held included."""
        if self.is_newest and self.is_oldest:
            return len(self.rows)
        return max(self.end + (not self.is_oldest), self._total or 0)

    def row(self, number: int) -> ItemRow | None:
        return self.rows[number - self.start] if self.start <= number < self.end else None

    def number_of(self, item_id: int) -> int | None:
        """The row in which an item is."""
        return next((self.start + at for at, row in enumerate(self.rows) if row.id == item_id), None)

    def lacking(self, top: int, height: int) -> Ask | None:
        """What to ask for when the rows from `top` on are looked at, None when they and their surroundings are held."""
        limit = max(ROWS_MIN, 4 * height)
        if not self.rows:
            return None if self.is_newest else Ask(limit)
        is_enough_above = self.is_newest or self.start <= top - height
        is_enough_below = self.is_oldest or self.end >= min(top + 2 * height, self.length)
        if top >= self.start and is_enough_above and is_enough_below and top < max(self.end, 1):
            return None
        return self._around(top - (limit - height) // 2, limit)

    def _around(self, first: int, limit: int) -> Ask:
        """The page that begins with the row `first`, as near as can be told."""
        last = min(first + limit, self.length) - 1
        if first <= 0:
            return Ask(limit)
        if (row := self.row(first)) is not None:
            return Ask(limit, before=row.id + 1, at=first)
        if (row := self.row(last)) is not None:
            return Ask(limit, after=row.id - 1, at=last)
        if last >= self.length - 1 and self._total is not None:
            return Ask(limit, after=0, at=last)
        return Ask(limit, before=max(1, round(self._newest_id * (1 - first / self.length))) + 1, at=first)

    def again(self, *, is_following: bool, height: int) -> Ask:
        """The same stretch as it is now, or the newest rows for who follows them."""
        limit = max(ROWS_MIN, 4 * height)
        if is_following or not self.rows:
            return Ask(limit)
        return Ask(limit, before=self.rows[0].id + 1, at=self.start)

    def count(self, total: int | None) -> int:
        """There are `total` rows in all, None where nobody has counted them. How far the numbers have moved by that."""
        self._total = total
        start, self.start = self.start, self._mended(self.start, ROWS_MIN) if self.rows else 0
        return self.start - start

    def take(self, ask: Ask, rows: Sequence[ItemRow], *, is_complete: bool) -> int:
        """Hold what was asked for; `is_complete` says that the list ends with it.

        How far the numbers of the rows have moved against what was thought: whoever looks at them moves along.
        """
        if ask.after is not None:
            start, self.is_newest, self.is_oldest = ask.at + 1 - len(rows), is_complete, ask.after == 0
        else:
            start, self.is_newest, self.is_oldest = ask.at, ask.before is None, is_complete
        self.rows = tuple(rows)
        self.start = self._mended(start, ask.limit)
        if self.is_newest and rows:
            self._newest_id = rows[0].id
        return self.start - start

    def _mended(self, start: int, limit: int) -> int:
        """`start`, unless an end of the list that is held, or is not, says otherwise."""
        count = len(self.rows)
        if self.is_newest:
            return 0
        if self.is_oldest and self._total is not None:
            return max(1, self._total - count)
        return start if start > 0 else limit
