"""What may come between a request and Sploot's answer: a bad network and a bad day, by chance or by script."""

import asyncio
import email.utils
import random
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from real_sploot import RealSploot, lasting, signed_out
from scripted import HTML, Drop, Reply, Request

CHAOS: Mapping[str, float] = {
    "reset": 0.03,
    "reset after": 0.04,
    "late": 0.03,
    "slow": 0.05,
    "error": 0.03,
    "error after": 0.03,
    "gateway": 0.03,
    "gateway after": 0.03,
    "truncated": 0.03,
    "page": 0.03,
    "plain text": 0.02,
    "bare conflict": 0.02,
    "busy": 0.005,
    "signed out": 0.01,
}
"""A share of all requests for each fault. The rest is answered as Sploot does."""


@dataclass
class Faulty:
    """`answer` puts the fault that chance or a script has chosen between a request and Sploot's answer."""

    sploot: RealSploot
    chance: random.Random
    rates: Mapping[str, float] = field(default_factory=dict)
    slow_s: float = 0.2
    late_s: float = 0.3
    hang_s: float = 90.0
    busy_s: int = 1
    _scripts: dict[str, deque[str]] = field(default_factory=lambda: defaultdict(deque))
    _behind: set[asyncio.Task[Reply]] = field(default_factory=set)

    def script(self, route: str, faults: Sequence[str]) -> None:
        """The next requests of `route` meet these faults, in this order; `none` is none."""
        self._scripts[route].extend(faults)

    def chosen(self, route: str) -> str:
        """The fault that the next request of `route` will meet."""
        if self._scripts[route]:
            return self._scripts[route].popleft()
        names = [*self.rates, "none"]
        weights = [*self.rates.values(), max(0.0, 1.0 - sum(self.rates.values()))]
        return self.chance.choices(names, weights)[0]

    async def answer(self, request: Request, fault: str) -> Reply:
        """The answer, if there is to be one: Drop cuts the line."""
        if fault == "none":
            return await self.sploot.answer(request)
        self.sploot.journal.note("fault", route=request.route, fault=fault)
        return await FAULTS[fault](self, request)

    def later(self, request: Request, after_s: float) -> None:
        """Go on with it although nobody waits any more."""

        async def act() -> Reply:
            await lasting(after_s)
            return await self.sploot.answer(request)

        task = asyncio.ensure_future(act())
        self._behind.add(task)
        task.add_done_callback(self._behind.discard)

    async def finished(self) -> None:
        """Wait for all that goes on behind closed lines."""
        await asyncio.gather(*self._behind)


Fault = Callable[[Faulty, Request], Awaitable[Reply]]


def instead(reply: Reply) -> Fault:
    async def fault(_: Faulty, __: Request) -> Reply:
        return reply

    return fault


def afterwards(reply: Reply) -> Fault:
    """Sploot does it, and says something else."""

    async def fault(faulty: Faulty, request: Request) -> Reply:
        await faulty.sploot.answer(request)
        return reply

    return fault


async def _reset(_: Faulty, __: Request) -> Reply:
    raise Drop


async def _reset_after(faulty: Faulty, request: Request) -> Reply:
    await faulty.sploot.answer(request)
    raise Drop


async def _late(faulty: Faulty, request: Request) -> Reply:
    faulty.later(request, faulty.late_s * faulty.chance.random())
    raise Drop


async def _slow(faulty: Faulty, request: Request) -> Reply:
    await lasting(faulty.slow_s * faulty.chance.random())
    return await faulty.sploot.answer(request)


async def _hang(faulty: Faulty, _: Request) -> Reply:
    await lasting(faulty.hang_s)
    raise Drop


async def _hang_after(faulty: Faulty, request: Request) -> Reply:
    await faulty.sploot.answer(request)
    await lasting(faulty.hang_s)
    raise Drop


async def _truncated(faulty: Faulty, request: Request) -> Reply:
    reply = await faulty.sploot.answer(request)
    return replace(reply, cut=faulty.chance.randint(0, 15))


async def _plain_text(faulty: Faulty, request: Request) -> Reply:
    reply = await faulty.sploot.answer(request)
    return replace(reply, headers={**reply.headers, "content-type": "text/plain"})


async def _bare_conflict(faulty: Faulty, request: Request) -> Reply:
    """A duplicate as Sploot says it, without an `error`; for all that is no upload, its usual answer."""
    first = await faulty.sploot.answer(request)
    return await faulty.sploot.answer(request) if request.route == "upload" and first.status == 201 else first


async def _signed_out(_: Faulty, request: Request) -> Reply:
    return signed_out(request.route)


async def _busy(faulty: Faulty, _: Request) -> Reply:
    """One of the ways to ask for patience."""
    now, text = faulty.sploot.now(), {"content-type": "text/plain"}
    until = email.utils.formatdate(now + faulty.busy_s, usegmt=True)
    date = email.utils.formatdate(now, usegmt=True)
    return faulty.chance.choice(
        [
            Reply(429, b"slow down", {**text, "retry-after": str(faulty.busy_s)}),
            Reply(429, b"slow down", {**text, "retry-after": until, "date": date}),
            Reply(503, {"error": "Service temporarily unavailable"}, {"retry-after": str(faulty.busy_s)}),
            Reply(503, {"error": "Service temporarily unavailable", "retryAfter": faulty.busy_s}),
        ]
    )


_ERROR = Reply(500, {"error": "Upload failed"})
_GATEWAY = Reply(504, b"<html>An error occurred with your deployment</html>", HTML)
_PAGE = Reply(200, b"<html>Log in to the hotel's network</html>", HTML)
_TOO_LARGE = Reply(413, b"<html>FUNCTION_PAYLOAD_TOO_LARGE</html>", HTML)

FAULTS: Mapping[str, Fault] = {
    "reset": _reset,
    "reset after": _reset_after,
    "reset inside": _reset,  # before all of the body was read
    "late": _late,
    "slow": _slow,
    "hang": _hang,
    "hang after": _hang_after,
    "error": instead(_ERROR),
    "error after": afterwards(_ERROR),
    "gateway": instead(_GATEWAY),
    "gateway after": afterwards(_GATEWAY),
    "truncated": _truncated,
    "page": instead(_PAGE),
    "page after": afterwards(_PAGE),
    "plain text": _plain_text,
    "bare conflict": _bare_conflict,
    "busy": _busy,
    "too large": instead(_TOO_LARGE),
    "signed out": _signed_out,
}
