"""Keeps the list window filled: visible rows are loaded immediately, changed rows are reloaded at a limited rate."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from sploot.tui.list_window import ListWindow, PageRequest
from sploot.tui.rate_limit import cooldown_s
from splootd.errors import SplootError
from splootd.protocol import ItemRow, Items, ListItems, Status

RELOAD_INTERVAL_S = 0.25


@dataclass(frozen=True, slots=True)
class ItemFilter:
    """Selects the items in the list."""

    state: str | None = None
    folder: str | None = None
    text: str | None = None

    def expected_total(self, status: Status) -> int | None:
        """Return the number of items that match, or None if the status does not count them."""
        if self.text is not None or (self.state and self.folder):
            return None
        if self.folder is not None:
            return next((folder.items for folder in status.folders if folder.path == self.folder), None)
        return status.items.get(self.state or "total")


class ListView(Protocol):
    """The widget that shows the rows."""

    def visible_range(self) -> tuple[int, int]:
        """Return the first visible row and the number of visible rows."""

    def is_following(self) -> bool:
        """Return True if the list is at its top and follows new items."""

    def shift_rows(self, by: int) -> None:
        """Draw the new rows, whose numbers have shifted by `by`."""

    def show_error(self, error: SplootError) -> None:
        """Report that the rows could not be loaded."""


class PageLoader:
    """Loads the rows of `window` that `view` shows."""

    def __init__(
        self, request: Callable[[ListItems, type[Items]], Awaitable[Items]], window: ListWindow, view: ListView
    ) -> None:
        self.item_filter = ItemFilter()
        self._request = request
        self._window = window
        self._view = view
        self._wake_signal = asyncio.Event()
        self._is_stale = False
        self._reload_at = 0.0

    def wake(self) -> None:
        """React to a scroll or a resize of the view."""
        self._wake_signal.set()

    def set_filter(self, item_filter: ItemFilter) -> None:
        """Load other items. The caller has cleared the window."""
        self.item_filter = item_filter
        self._wake_signal.set()

    def mark_stale(self) -> None:
        """Reload the rows soon: items have changed."""
        self._is_stale = True
        self._wake_signal.set()

    async def run(self) -> None:
        while True:
            await self._wake_signal.wait()
            self._wake_signal.clear()
            try:
                while (page_request := self._next_page_request()) is not None:
                    await self._load_page(page_request)
            except SplootError as error:
                self._view.show_error(error)

    def _next_page_request(self) -> PageRequest | None:
        top, height = self._view.visible_range()
        missing = self._window.missing_page(top, height)
        if missing is not None or not self._is_stale:
            return missing
        loop = asyncio.get_running_loop()
        if loop.time() < self._reload_at:
            loop.call_at(self._reload_at, self._wake_signal.set)
            return None
        self._is_stale = False
        return self._window.reload_request(is_following=self._view.is_following(), height=height)

    async def _load_page(self, page_request: PageRequest) -> None:
        loop, item_filter = asyncio.get_running_loop(), self.item_filter
        began_at = loop.time()
        rows, is_complete = await self._fetch_rows(page_request, item_filter)
        if item_filter == self.item_filter:
            self._reload_at = loop.time() + cooldown_s(loop.time() - began_at, RELOAD_INTERVAL_S)
            self._view.shift_rows(self._window.apply_page(page_request, rows, is_complete=is_complete))

    async def _fetch_rows(self, page_request: PageRequest, item_filter: ItemFilter) -> tuple[list[ItemRow], bool]:
        """Return the rows of a page and whether the list ends there. With a text filter it takes several replies."""
        rows: list[ItemRow] = []
        request = ListItems(
            item_filter.state,
            item_filter.folder,
            None,
            page_request.before,
            page_request.limit,
            page_request.after,
            item_filter.text,
        )
        while item_filter == self.item_filter:
            reply = await self._request(request, Items)
            is_upwards = page_request.after is not None
            rows = [*reply.items, *rows] if is_upwards else [*rows, *reply.items]
            cursor, remaining = reply.after if is_upwards else reply.before, page_request.limit - len(rows)
            if cursor is None or remaining <= 0:
                return rows, cursor is None
            before, after = (None, cursor) if is_upwards else (cursor, None)
            request = ListItems(item_filter.state, item_filter.folder, None, before, remaining, after, item_filter.text)
        return rows, False
