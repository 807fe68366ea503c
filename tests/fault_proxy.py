"""Faults between a request and Sploot's response: of the network and the server, random or scripted."""

import asyncio
import email.utils
import random
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from real_sploot import NOT_FOUND_PAGE, RealSploot, signed_out, sleep_for
from scripted_sploot import HTML, Disconnect, Reply, Request

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
"""The share of requests that meet each fault. Sploot handles the rest."""


@dataclass
class FaultProxy:
    """Applies a random or scripted fault to each request to a RealSploot."""

    sploot: RealSploot
    chance: random.Random
    rates: Mapping[str, float] = field(default_factory=dict)
    slow_s: float = 0.2
    late_s: float = 0.3
    hang_s: float = 90.0
    busy_s: int = 1
    _scripts: dict[str, deque[str]] = field(default_factory=lambda: defaultdict(deque))
    _in_progress: set[asyncio.Task[Reply]] = field(default_factory=set)

    def script(self, route: str, faults: Sequence[str]) -> None:
        """Apply these faults to the next requests of `route`, in this order; `none` is no fault."""
        self._scripts[route].extend(faults)

    def choose_fault(self, route: str) -> str:
        """Choose the fault of the next request of `route`."""
        if self._scripts[route]:
            return self._scripts[route].popleft()
        names = [*self.rates, "none"]
        weights = [*self.rates.values(), max(0.0, 1.0 - sum(self.rates.values()))]
        return self.chance.choices(names, weights)[0]

    async def answer(self, request: Request, fault: str) -> Reply:
        """Return the response to a request with a fault. Raises Disconnect to close the connection without one."""
        if fault == "none":
            return await self.sploot.answer(request)
        self.sploot.journal.record("fault", route=request.route, fault=fault)
        return await FAULTS[fault](self, request)

    def later(self, request: Request, after_s: float) -> None:
        """Handle a request after its connection was closed."""

        async def act() -> Reply:
            await sleep_for(after_s)
            return await self.sploot.answer(request)

        task = asyncio.ensure_future(act())
        self._in_progress.add(task)
        task.add_done_callback(self._in_progress.discard)

    async def wait_until_idle(self) -> None:
        """Wait for the requests whose connections were closed."""
        await asyncio.gather(*self._in_progress)


Fault = Callable[[FaultProxy, Request], Awaitable[Reply]]


def instead(reply: Reply) -> Fault:
    async def fault(_: FaultProxy, __: Request) -> Reply:
        return reply

    return fault


def afterwards(reply: Reply) -> Fault:
    """Handle the request, but send another reply."""

    async def fault(fault_proxy: FaultProxy, request: Request) -> Reply:
        await fault_proxy.sploot.answer(request)
        return reply

    return fault


async def _reset(_: FaultProxy, __: Request) -> Reply:
    raise Disconnect


async def _reset_after(fault_proxy: FaultProxy, request: Request) -> Reply:
    fault_proxy.sploot.abandon(await fault_proxy.sploot.answer(request))
    raise Disconnect


async def _late(fault_proxy: FaultProxy, request: Request) -> Reply:
    fault_proxy.later(request, fault_proxy.late_s * fault_proxy.chance.random())
    raise Disconnect


async def _slow(fault_proxy: FaultProxy, request: Request) -> Reply:
    await sleep_for(fault_proxy.slow_s * fault_proxy.chance.random())
    return await fault_proxy.sploot.answer(request)


async def _hang(fault_proxy: FaultProxy, _: Request) -> Reply:
    await sleep_for(fault_proxy.hang_s)
    raise Disconnect


async def _hang_after(fault_proxy: FaultProxy, request: Request) -> Reply:
    await fault_proxy.sploot.answer(request)
    await sleep_for(fault_proxy.hang_s)
    raise Disconnect


async def _truncated(fault_proxy: FaultProxy, request: Request) -> Reply:
    reply = await fault_proxy.sploot.answer(request)
    return replace(reply, cut=fault_proxy.chance.randint(0, 15))


async def _plain_text(fault_proxy: FaultProxy, request: Request) -> Reply:
    reply = await fault_proxy.sploot.answer(request)
    return replace(reply, headers={**reply.headers, "content-type": "text/plain"})


async def _bare_conflict(fault_proxy: FaultProxy, request: Request) -> Reply:
    """Respond to a new upload as to a duplicate: 409 without an `error`. Other requests are not affected."""
    first = await fault_proxy.sploot.answer(request)
    return await fault_proxy.sploot.answer(request) if request.route == "upload" and first.status == 201 else first


async def _signed_out(_: FaultProxy, request: Request) -> Reply:
    return signed_out(request.route)


async def _busy(fault_proxy: FaultProxy, _: Request) -> Reply:
    """Return one of the forms of a rate limit."""
    now, text = fault_proxy.sploot.now(), {"content-type": "text/plain"}
    until = email.utils.formatdate(now + fault_proxy.busy_s, usegmt=True)
    date = email.utils.formatdate(now, usegmt=True)
    return fault_proxy.chance.choice(
        [
            Reply(429, b"slow down", {**text, "retry-after": str(fault_proxy.busy_s)}),
            Reply(429, b"slow down", {**text, "retry-after": until, "date": date}),
            Reply(503, {"error": "Service temporarily unavailable"}, {"retry-after": str(fault_proxy.busy_s)}),
            Reply(503, {"error": "Service temporarily unavailable", "retryAfter": fault_proxy.busy_s}),
        ]
    )


_ERROR = Reply(500, {"error": "Upload failed"})
_GATEWAY = Reply(504, b"<html>An error occurred with your deployment</html>", HTML)
_PAGE = Reply(200, b"<html>Log in to the hotel's network</html>", HTML)
_FULL = Reply(507, {"error": "the quota of 20 MB is used up"})
_TOO_LARGE = Reply(413, b"<html>FUNCTION_PAYLOAD_TOO_LARGE</html>", HTML)

FAULTS: Mapping[str, Fault] = {
    "reset": _reset,
    "reset after": _reset_after,
    "reset inside": _reset,  # before the whole body was read
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
    "missing": instead(NOT_FOUND_PAGE),
    "plain text": _plain_text,
    "bare conflict": _bare_conflict,
    "busy": _busy,
    "full": instead(_FULL),
    "too large": instead(_TOO_LARGE),
    "signed out": _signed_out,
}
