"""Health routes of Sploot's API."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from sploot_server.http import serializers
from sploot_server.library.service import Library, now_ms

NO_STORE = {"cache-control": "no-store"}


class HealthRoutes:
    """Routes of the server's and its services' health."""

    def __init__(self, library: Library) -> None:
        self._library = library

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/api/health", self.health, methods=["GET"]),
            Route("/api/health/services", self.services, methods=["GET"]),
        ]

    async def health(self, request: Request) -> Response:
        return JSONResponse({"status": "ok", "timestamp": serializers.format_time(now_ms())}, headers=NO_STORE)

    async def services(self, request: Request) -> Response:
        """Report the health of each service, always with status 200 as in Sploot; details go to the log only."""
        healthy = {name: error is None for name, error in (await self._library.check_services()).items()}
        body = {
            "status": "ok" if all(healthy.values()) else "degraded",
            "timestamp": serializers.format_time(now_ms()),
            "services": {name: {"status": "ok" if is_healthy else "error"} for name, is_healthy in healthy.items()},
            "readiness": {
                "canAuthenticate": healthy["database"],
                "canUpload": healthy["database"] and healthy["storage"],
                "canStore": healthy["storage"],
                "canSearch": healthy["database"],
            },
        }
        return JSONResponse(body, headers=NO_STORE)
