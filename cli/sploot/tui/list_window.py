"""A window on a long list, of which only a part is loaded: decides which page to load and where its rows belong. Pure.

Lists are paged by key, so the number of a row is exact only near the two ends. In between it is an estimate, which is
corrected when one of the ends is loaded.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from splootd.protocol import ItemRow

ROWS_MIN = 200  # loaded at least; four screens if that is more


@dataclass(frozen=True, slots=True)
class PageRequest:
    """A page: up to `limit` rows older than `before`, or newer than `after`, or the newest; `at` is a row number.

    With `before`, the row number is that of the first row of the page; with `after`, that of the last.
    """

    limit: int
    before: int | None = None
    after: int | None = None
    at: int = 0


class ListWindow:
    """The loaded rows `start` to `end` of a list of `length` rows, newest first."""

    def __init__(self) -> None:
        self.rows: Sequence[ItemRow] = ()
        self.start = 0
        self.is_newest = False  # the first row is the first of the list
        self.is_oldest = False
        self._total: int | None = None
        self._newest_id = 0

    def clear(self, total: int | None) -> None:
        """Start over with another list. Its total may be known."""
        self.rows, self.start, self._total = (), 0, total
        self.is_newest = self.is_oldest = False

    @property
    def end(self) -> int:
        return self.start + len(self.rows)

    @property
    def length(self) -> int:
        """Return the length of the whole list, including rows that are not loaded."""
        if self.is_newest and self.is_oldest:
            return len(self.rows)
        return max(self.end + (not self.is_oldest), self._total or 0)

    def row(self, number: int) -> ItemRow | None:
        return self.rows[number - self.start] if self.start <= number < self.end else None

    def row_number(self, item_id: int) -> int | None:
        """Return the row number of an item, or None if it is not loaded."""
        return next((self.start + at for at, row in enumerate(self.rows) if row.id == item_id), None)

    def missing_page(self, top: int, height: int) -> PageRequest | None:
        """Return the page to load for the rows from `top` on, or None if they and their surroundings are loaded."""
        limit = max(ROWS_MIN, 4 * height)
        if not self.rows:
            return None if self.is_newest else PageRequest(limit)
        is_enough_above = self.is_newest or self.start <= top - height
        is_enough_below = self.is_oldest or self.end >= min(top + 2 * height, self.length)
        if top >= self.start and is_enough_above and is_enough_below and top < max(self.end, 1):
            return None
        return self._page_around(top - (limit - height) // 2, limit)

    def _page_around(self, first: int, limit: int) -> PageRequest:
        """Return the page that begins with row `first`, exactly if a key near it is known, else by estimate."""
        last = min(first + limit, self.length) - 1
        if first <= 0:
            return PageRequest(limit)
        if (row := self.row(first)) is not None:
            return PageRequest(limit, before=row.id + 1, at=first)
        if (row := self.row(last)) is not None:
            return PageRequest(limit, after=row.id - 1, at=last)
        if last >= self.length - 1 and self._total is not None:
            return PageRequest(limit, after=0, at=last)
        return PageRequest(limit, before=max(1, round(self._newest_id * (1 - first / self.length))) + 1, at=first)

    def reload_request(self, *, is_following: bool, height: int) -> PageRequest:
        """Return the request that reloads the window, or loads the newest rows when the view follows them."""
        limit = max(ROWS_MIN, 4 * height)
        if is_following or not self.rows:
            return PageRequest(limit)
        return PageRequest(limit, before=self.rows[0].id + 1, at=self.start)

    def set_total(self, total: int | None) -> int:
        """Set the total, None if unknown. Return by how much the row numbers have shifted."""
        self._total = total
        start, self.start = self.start, self._correct_start(self.start, ROWS_MIN) if self.rows else 0
        return self.start - start

    def apply_page(self, page_request: PageRequest, rows: Sequence[ItemRow], *, is_complete: bool) -> int:
        """Replace the window by the rows of a page; `is_complete` if the list ends with them.

        Return by how much the row numbers differ from the request, so that the view can shift with them.
        """
        if page_request.after is not None:
            start, self.is_newest, self.is_oldest = (
                page_request.at + 1 - len(rows),
                is_complete,
                page_request.after == 0,
            )
        else:
            start, self.is_newest, self.is_oldest = page_request.at, page_request.before is None, is_complete
        self.rows = tuple(rows)
        self.start = self._correct_start(start, page_request.limit)
        if self.is_newest and rows:
            self._newest_id = rows[0].id
        return self.start - start

    def _correct_start(self, start: int, limit: int) -> int:
        """Return `start`, corrected if the window contains an end of the list or must not."""
        count = len(self.rows)
        if self.is_newest:
            return 0
        if self.is_oldest and self._total is not None:
            return max(1, self._total - count)
        return start if start > 0 else limit
