"""Whether it runs, and how the services behind it are."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from sploot_server import wire
from sploot_server.library import Library, now_ms

FRESH = {"cache-control": "no-store"}


class Health:
    def __init__(self, library: Library) -> None:
        self._library = library

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/api/health", self.health, methods=["GET"]),
            Route("/api/health/services", self.services, methods=["GET"]),
        ]

    async def health(self, request: Request) -> Response:
        return JSONResponse({"status": "ok", "timestamp": wire.iso(now_ms())}, headers=FRESH)

    async def services(self, request: Request) -> Response:
        """Always 200, as in Sploot: the body says what is wrong, without a word that is for the log only."""
        well = {name: trouble is None for name, trouble in (await self._library.troubles()).items()}
        body = {
            "status": "ok" if all(well.values()) else "degraded",
            "timestamp": wire.iso(now_ms()),
            "services": {name: {"status": "ok" if is_well else "error"} for name, is_well in well.items()},
            "readiness": {
                "canAuthenticate": well["database"],
                "canUpload": well["database"] and well["storage"],
                "canStore": well["storage"],
                "canSearch": well["database"],
            },
        }
        return JSONResponse(body, headers=FRESH)
