"""One request at a time for each upload; and whoever has fallen silent gives way to the next one."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from sploot_server.model import LibraryError

SILENT_S = 2.0  # a client that says nothing for so long may be on a line that is dead


class Held(LibraryError):
    """Another request is adding to this upload."""

    def __init__(self) -> None:
        super().__init__("Another request is sending to this upload. Ask for its offset in a moment")


class Turns:
    """Who is at which upload."""

    def __init__(self) -> None:
        self._turns: dict[str, Turn] = {}

    def __contains__(self, upload_id: str) -> bool:
        return upload_id in self._turns

    @contextlib.asynccontextmanager
    async def of(self, upload_id: str) -> AsyncIterator["Turn"]:
        """The right to change an upload. Raises Held when another request has it and makes use of it."""
        if holder := self._turns.get(upload_id):
            await holder.give_way()
        if upload_id in self._turns:
            raise Held
        turn = self._turns[upload_id] = Turn()
        try:
            yield turn
        finally:
            del self._turns[upload_id]
            turn.ended.set()


class Turn:
    """The right to change one upload."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()
        self._heard_at = 0.0
        self._receiving: asyncio.Timeout | None = None

    @contextlib.asynccontextmanager
    async def receiving(self) -> AsyncIterator[None]:
        """While bytes come in. Raises TimeoutError when the client is silent and another request wants the turn."""
        self.heard()
        async with asyncio.timeout(None) as receiving:
            self._receiving = receiving
            try:
                yield
            finally:
                self._receiving = None

    def heard(self) -> None:
        """The client has sent something."""
        self._heard_at = asyncio.get_running_loop().time()

    async def give_way(self) -> None:
        """Wait for the end of this turn, for a short while; if its client is silent, end it."""
        for _ in range(2):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SILENT_S):
                    await self.ended.wait()
                return
            now = asyncio.get_running_loop().time()
            if self._receiving is not None and self._heard_at <= now - SILENT_S:
                self._receiving.reschedule(now)
