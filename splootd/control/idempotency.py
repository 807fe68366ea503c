"""Idempotency: replays the stored reply of a repeated Idempotency-Key, so that a change is applied once."""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from typing import Any

from splootd.clock import Clock
from splootd.errors import StoreError
from splootd.store.idempotency import IdempotencyStore


class IdempotencyCache:
    """Runs the operation of a key unless it has already run or is in flight."""

    def __init__(self, idempotency_store: IdempotencyStore, clock: Clock) -> None:
        self._idempotency_store = idempotency_store
        self._clock = clock
        self._in_flight: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._store_tasks: set[asyncio.Task[None]] = set()

    async def __call__(self, key: str, operation: Callable[[], Awaitable[dict[str, Any]]]) -> dict[str, Any]:
        """Return the reply of `operation`, or the stored reply of `key`. Errors are not stored, so a retry runs again.

        The reply is returned before it is on disk: a client that received it does not repeat the request, and a repeat
        in the meantime gets the same reply from `_in_flight`.
        """
        # Shield the operation: a client that disconnects cancels its request, not a half-applied change. Its retry
        # then joins the same future instead of starting a second run.
        if key not in self._in_flight:
            self._in_flight[key] = asyncio.ensure_future(self._run(key, operation))
        return await asyncio.shield(self._in_flight[key])

    async def _run(self, key: str, operation: Callable[[], Awaitable[dict[str, Any]]]) -> dict[str, Any]:
        reply: dict[str, Any] | None = None
        try:
            stored = await self._idempotency_store.get_response(key)
            if stored is not None:
                return dict(json.loads(stored))
            reply = await operation()
        finally:
            if reply is None:
                del self._in_flight[key]
        task = asyncio.create_task(self._store_reply(key, reply), name="store-reply")
        self._store_tasks.add(task)
        task.add_done_callback(self._store_tasks.discard)
        return reply

    async def _store_reply(self, key: str, reply: dict[str, Any]) -> None:
        try:
            with contextlib.suppress(StoreError):  # the change is committed and the client has the reply
                await self._idempotency_store.store_response(key, json.dumps(reply), now=self._clock.now())
        finally:
            del self._in_flight[key]
