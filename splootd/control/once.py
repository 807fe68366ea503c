"""A change that is asked for twice is made once: the answer to each Idempotency-Key is kept and given again."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from splootd.clock import Clock
from splootd.store.arrivals import Arrivals


class Once:
    """Runs the change behind a key, unless it ran before or is under way."""

    def __init__(self, arrivals: Arrivals, clock: Clock) -> None:
        self._arrivals = arrivals
        self._clock = clock
        self._under_way: dict[str, asyncio.Future[dict[str, Any]]] = {}

    async def __call__(self, key: str, change: Callable[[], Awaitable[dict[str, Any]]]) -> dict[str, Any]:
        """The answer of `change`, or the one that was given under `key` before. An error is not kept: try again."""
        if key not in self._under_way:
            self._under_way[key] = asyncio.ensure_future(self._run(key, change))
            self._under_way[key].add_done_callback(lambda _: self._under_way.pop(key))
        return await asyncio.shield(self._under_way[key])

    async def _run(self, key: str, change: Callable[[], Awaitable[dict[str, Any]]]) -> dict[str, Any]:
        kept = await self._arrivals.reply(key)
        if kept is not None:
            answer: dict[str, Any] = json.loads(kept)
            return answer
        answer = await change()
        await self._arrivals.remember(key, json.dumps(answer), now=self._clock.now())
        return answer
