"""Routes for operators: liveness, readiness and Prometheus metrics."""

import asyncio
import shutil
from collections.abc import Mapping, Sequence

import structlog
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from sploot_server.auth.accounts import UserUsage
from sploot_server.config import Config
from sploot_server.domain.entities import BackendUnavailable
from sploot_server.http.errors import RETRY_AFTER_S
from sploot_server.http.metrics import CurrentState, DiskUsage, Metrics, QueueState
from sploot_server.http.push.subscriptions import SubscriptionHub
from sploot_server.http.routes.health import NO_STORE
from sploot_server.library.service import now_ms
from sploot_server.storage_backends import HealthCheck, Stores

CHECK_TIMEOUT_S = 5.0

logger = structlog.get_logger()


class ProbeRoutes:
    """Routes of probes and metrics."""

    def __init__(self, config: Config, stores: Stores, hub: SubscriptionHub, metrics: Metrics) -> None:
        self._config = config
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
        usable = await self._check_backends()
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
        backends = await self._check_backends()
        current = CurrentState(
            queue=await self._queue_state() if backends["database"] else None,
            usage=await self._usage() if backends["database"] else (),
            connections=self._stores.count_connections(),
            backends=backends,
            disks=await asyncio.to_thread(self._disk_usage),
            subscribers=len(self._hub),
        )
        body = self._metrics.render(current)
        return PlainTextResponse(body, media_type="text/plain; version=0.0.4", headers=NO_STORE)

    async def _check_backends(self) -> Mapping[str, bool]:
        checks = {**self._stores.checks, **self._stores.optional_checks}
        return dict(zip(checks, await asyncio.gather(*map(_is_usable, checks, checks.values())), strict=True))

    async def _queue_state(self) -> QueueState | None:
        jobs = self._stores.jobs
        try:
            due_ms = await jobs.next_due_ms()
            oldest_due_s = 0.0 if due_ms is None else max(0.0, (now_ms() - due_ms) / 1000)
            return QueueState(await jobs.count_by_state(), oldest_due_s, await jobs.count_workers())
        except BackendUnavailable:
            return None

    async def _usage(self) -> Sequence[UserUsage]:
        try:
            return await self._stores.accounts.list_usage()
        except BackendUnavailable:
            return ()

    def _disk_usage(self) -> Mapping[str, DiskUsage]:
        """Return the usage of the disks of the data and the upload folder. Blocks."""
        folders = {"data": self._config.data, "uploads": self._config.upload_dir}
        return {name: shutil.disk_usage(folder) for name, folder in folders.items() if folder is not None}


async def _is_usable(name: str, check: HealthCheck) -> bool:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            await check()
    except Exception as error:  # noqa: BLE001 - any failure makes the backend unusable
        logger.warning("readiness check failed", part=name, error_message=str(error))
        return False
    return True
