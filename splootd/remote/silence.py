"""How long a server has left requests without a response."""

import asyncio
import contextlib
import math
from collections.abc import AsyncGenerator, Iterator

import httpx

NOTICE_S = 5.0  # a request that waits for so long makes the daemon ask whether the server responds at all
SILENCE_S = 10.0  # without any response, before the server is reported as silent

RequestContent = bytes | AsyncGenerator[bytes, None]


class _Exchange:
    """One request on its connection. It waits for its response from `sent_at` on, infinity while its body is sent."""

    def __init__(self, content: RequestContent) -> None:
        self.content = content if isinstance(content, bytes) else self._send(content)
        self.sent_at = _now() if isinstance(content, bytes) else math.inf

    async def _send(self, pieces: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
        try:
            async for piece in pieces:
                yield piece
        finally:
            await pieces.aclose()
        self.sent_at = _now()


class Silence:
    """Measures how long all requests to one server together have waited for a response.

    Any response ends the silence, and so does a connection that is refused or closed: that is a fault of another kind.
    A request that timed out leaves it as it is.
    """

    def __init__(self) -> None:
        self.has_responded = False  # since the start
        self.is_waiting = asyncio.Event()  # set while a request waits, and after a timeout until the next response
        self._exchanges: set[_Exchange] = set()
        self._timed_out_since = math.inf
        self._last_response_at = -math.inf

    @contextlib.contextmanager
    def exchange(self, content: RequestContent) -> Iterator[RequestContent]:
        """Count a request until the head of its response has arrived. Yields the content to send."""
        exchange = _Exchange(content)
        self._exchanges.add(exchange)
        self.is_waiting.set()
        try:
            yield exchange.content
        except (httpx.ReadTimeout, httpx.WriteTimeout, asyncio.CancelledError):
            if _now() - exchange.sent_at >= NOTICE_S:
                self._timed_out_since = min(self._timed_out_since, exchange.sent_at)
            raise
        except BaseException:
            self._end()
            raise
        else:
            self.has_responded = True
            self._end()
        finally:
            self._exchanges.discard(exchange)
            if not self._exchanges and math.isinf(self._timed_out_since):
                self.is_waiting.clear()

    @property
    def seconds(self) -> float:
        """Seconds for which a request has waited and none has received a response; 0 if none waits."""
        since = min((self._timed_out_since, *(each.sent_at for each in self._exchanges)))
        return 0.0 if math.isinf(since) else _now() - max(since, self._last_response_at)

    def _end(self) -> None:
        self._last_response_at, self._timed_out_since = _now(), math.inf


def _now() -> float:
    return asyncio.get_running_loop().time()
