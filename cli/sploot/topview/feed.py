"""Keeps the window filled: what is looked at is read at once, what has changed is read again at its own pace."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from sploot.topview.pace import pause_s
from sploot.topview.window import Ask, Window
from splootd.errors import SplootError
from splootd.protocol import ItemRow, Items, ListItems, Status

AGAIN_S = 0.25


@dataclass(frozen=True, slots=True)
class Choice:
    """Which items are shown."""

    state: str | None = None
    folder: str | None = None
    text: str | None = None

    def total(self, now: Status) -> int | None:
        """How many there are, None where nobody keeps count of that."""
        if self.text is not None or (self.state and self.folder):
            return None
        if self.folder is not None:
            return next((folder.items for folder in now.folders if folder.path == self.folder), None)
        return now.items.get(self.state or "total")


class View(Protocol):
    """Whoever looks at the rows."""

    def looked_at(self) -> tuple[int, int]:
        """The first row that is looked at, and how many are."""

    def is_following(self) -> bool:
        """Whether the newest rows are wanted, whichever they are."""

    def moved(self, by: int) -> None:
        """The rows are others now, and their numbers have moved."""

    def failed(self, error: SplootError) -> None:
        """They could not be read."""


class Feed:
    """Reads the rows of `window` that `view` looks at."""

    def __init__(self, ask: Callable[[ListItems, type[Items]], Awaitable[Items]], window: Window, view: View) -> None:
        self.choice = Choice()
        self._ask = ask
        self._window = window
        self._view = view
        self._bell = asyncio.Event()
        self._is_stale = False
        self._again_at = 0.0

    def look(self) -> None:
        """The view has moved."""
        self._bell.set()

    def choose(self, choice: Choice) -> None:
        """Others are wanted. The window has been cleared."""
        self.choice = choice
        self._bell.set()

    def changed(self) -> None:
        """Items have."""
        self._is_stale = True
        self._bell.set()

    async def run(self) -> None:
        while True:
            await self._bell.wait()
            self._bell.clear()
            try:
                while (ask := self._next()) is not None:
                    await self._read(ask)
            except SplootError as error:
                self._view.failed(error)

    def _next(self) -> Ask | None:
        top, height = self._view.looked_at()
        lacking = self._window.lacking(top, height)
        if lacking is not None or not self._is_stale:
            return lacking
        loop = asyncio.get_running_loop()
        if loop.time() < self._again_at:
            loop.call_at(self._again_at, self._bell.set)
            return None
        self._is_stale = False
        return self._window.again(is_following=self._view.is_following(), height=height)

    async def _read(self, ask: Ask) -> None:
        loop, choice = asyncio.get_running_loop(), self.choice
        began_at = loop.time()
        rows, is_complete = await self._rows(ask, choice)
        if choice == self.choice:
            self._again_at = loop.time() + pause_s(loop.time() - began_at, AGAIN_S)
            self._view.moved(self._window.take(ask, rows, is_complete=is_complete))

    async def _rows(self, ask: Ask, choice: Choice) -> tuple[list[ItemRow], bool]:
        """The rows of a page, and whether the list ends there. One that is searched comes in several replies."""
        rows: list[ItemRow] = []
        wanted = ListItems(choice.state, choice.folder, None, ask.before, ask.limit, ask.after, choice.text)
        while choice == self.choice:
            reply = await self._ask(wanted, Items)
            is_upwards = ask.after is not None
            rows = [*reply.items, *rows] if is_upwards else [*rows, *reply.items]
            cursor, left = reply.after if is_upwards else reply.before, ask.limit - len(rows)
            if cursor is None or left <= 0:
                return rows, cursor is None
            before, after = (None, cursor) if is_upwards else (cursor, None)
            wanted = ListItems(choice.state, choice.folder, None, before, left, after, choice.text)
        return rows, False
