"""A change that is asked for twice is made once: the answer to each Idempotency-Key is kept and given again."""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from typing import Any

from splootd.clock import Clock
from splootd.errors import StoreError
from splootd.store.arrivals import Arrivals


class Once:
    """Runs the change behind a key, unless it ran before or is under way."""

    def __init__(self, arrivals: Arrivals, clock: Clock) -> None:
        self._arrivals = arrivals
        self._clock = clock
        self._under_way: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._remembering: set[asyncio.Task[None]] = set()

    async def __call__(self, key: str, change: Callable[[], Awaitable[dict[str, Any]]]) -> dict[str, Any]:
        """The answer of `change`, or the one that was given under `key` before. An error is not kept: try again.

        It is given before it is on the disk: whoever has it does not ask again, and whoever does meanwhile is told the
        same.
        """
        if key not in self._under_way:
            self._under_way[key] = asyncio.ensure_future(self._run(key, change))
        return await asyncio.shield(self._under_way[key])

    async def _run(self, key: str, change: Callable[[], Awaitable[dict[str, Any]]]) -> dict[str, Any]:
        answer: dict[str, Any] | None = None
        try:
            kept = await self._arrivals.reply(key)
            if kept is not None:
                return dict(json.loads(kept))
            answer = await change()
        finally:
            if answer is None:
                del self._under_way[key]
        remembering = asyncio.create_task(self._remember(key, answer), name="remember an answer")
        self._remembering.add(remembering)
        remembering.add_done_callback(self._remembering.discard)
        return answer

    async def _remember(self, key: str, answer: dict[str, Any]) -> None:
        try:
            with contextlib.suppress(StoreError):  # the change is made, and its maker knows
                await self._arrivals.remember(key, json.dumps(answer), now=self._clock.now())
        finally:
            del self._under_way[key]
