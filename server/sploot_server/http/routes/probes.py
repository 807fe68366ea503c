"""Routes for operators: liveness, readiness and Prometheus metrics."""

import asyncio

import structlog
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from sploot_server.http.errors import RETRY_AFTER_S
from sploot_server.http.metrics import Metrics
from sploot_server.http.push.subscriptions import SubscriptionHub
from sploot_server.http.routes.health import NO_STORE
from sploot_server.storage_backends import HealthCheck, Stores

CHECK_TIMEOUT_S = 5.0

logger = structlog.get_logger()


class ProbeRoutes:
    """Routes of probes and metrics."""

    def __init__(self, stores: Stores, hub: SubscriptionHub, metrics: Metrics) -> None:
        self._stores = stores
        self._hub = hub
        self._metrics = metrics

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/api/health/live", self.live, methods=["GET"]),
            Route("/api/health/ready", self.ready, methods=["GET"]),
            Route("/metrics", self.metrics, methods=["GET"]),
        ]

    async def live(self, request: Request) -> Response:
        """Report that the process runs, without checking backends.

        An orchestrator restarts a server that fails this probe, which does not repair an unavailable database.
        """
        return JSONResponse({"status": "ok"}, headers=NO_STORE)

    async def ready(self, request: Request) -> Response:
        """Report 503 while the database or the originals are unavailable, `degraded` if an optional check fails."""
        checks = {**self._stores.checks, **self._stores.optional_checks}
        usable = dict(zip(checks, await asyncio.gather(*map(_is_usable, checks, checks.values())), strict=True))
        if not all(usable[name] for name in self._stores.checks):
            return JSONResponse(
                {"status": "unavailable", "checks": usable},
                503,
                headers={**NO_STORE, "retry-after": str(RETRY_AFTER_S)},
            )
        return JSONResponse(
            {"status": "ok" if all(usable.values()) else "degraded", "checks": usable}, headers=NO_STORE
        )

    async def metrics(self, request: Request) -> Response:
        body = self._metrics.render(await self._stores.jobs.count_by_state(), len(self._hub))
        return PlainTextResponse(body, media_type="text/plain; version=0.0.4", headers=NO_STORE)


async def _is_usable(name: str, check: HealthCheck) -> bool:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            await check()
    except Exception as error:  # noqa: BLE001 - any failure makes the backend unusable
        logger.warning("readiness check failed", part=name, error_message=str(error))
        return False
    return True
