"""What those ask who keep servers running: whether this one lives, whether to send it requests, and how it fares."""

import asyncio

import structlog
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from sploot_server.metrics import Metrics
from sploot_server.refusals import AGAIN_S
from sploot_server.routes.health import FRESH
from sploot_server.stores import Check, Stores
from sploot_server.updates import Updates

CHECK_S_MAX = 5.0

logger = structlog.get_logger()


class Probes:
    def __init__(self, stores: Stores, updates: Updates, metrics: Metrics) -> None:
        self._stores = stores
        self._updates = updates
        self._metrics = metrics

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/api/health/live", self.live, methods=["GET"]),
            Route("/api/health/ready", self.ready, methods=["GET"]),
            Route("/metrics", self.metrics, methods=["GET"]),
        ]

    async def live(self, request: Request) -> Response:
        """Asks nobody else: a server whose database is away is not mended by starting it again."""
        return JSONResponse({"status": "ok"}, headers=FRESH)

    async def ready(self, request: Request) -> Response:
        """503 while the database or the originals cannot be reached; without news of others it is only late."""
        checks = {**self._stores.checks, **self._stores.comforts}
        usable = dict(zip(checks, await asyncio.gather(*map(_is_usable, checks, checks.values())), strict=True))
        if not all(usable[name] for name in self._stores.checks):
            return JSONResponse(
                {"status": "unavailable", "checks": usable}, 503, headers={**FRESH, "retry-after": str(AGAIN_S)}
            )
        return JSONResponse({"status": "ok" if all(usable.values()) else "degraded", "checks": usable}, headers=FRESH)

    async def metrics(self, request: Request) -> Response:
        text = self._metrics.text(await self._stores.jobs.counts(), len(self._updates))
        return PlainTextResponse(text, media_type="text/plain; version=0.0.4", headers=FRESH)


async def _is_usable(name: str, check: Check) -> bool:
    try:
        async with asyncio.timeout(CHECK_S_MAX):
            await check()
    except Exception as error:  # noqa: BLE001 - whatever it is, it is not usable
        logger.warning("not ready", part=name, reason=str(error))
        return False
    return True
