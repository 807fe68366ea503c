"""How often something may happen."""

import asyncio
from collections.abc import Awaitable, Callable

SHARE = 0.1  # of the time may go into one kind of question, however long its answer takes


class Pace:
    """Does `work` whenever it is wanted, never twice at a time and at most once in `least_s`."""

    def __init__(self, work: Callable[[], Awaitable[None]], least_s: float) -> None:
        self._work = work
        self._least_s = least_s
        self._wanted = asyncio.Event()

    def want(self) -> None:
        self._wanted.set()

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            began_at = loop.time()
            await self._work()
            await asyncio.sleep(pause_s(loop.time() - began_at, self._least_s))


def pause_s(took_s: float, least_s: float) -> float:
    """How long to leave alone what took so long."""
    return max(least_s, took_s / SHARE)
