"""Route of the OpenAPI document."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from sploot_server.http import openapi


class OpenApiRoutes:
    """Route of the OpenAPI document."""

    def routes(self) -> list[BaseRoute]:
        return [Route(openapi.PATH, self.document, methods=["GET"])]

    def document(self, request: Request) -> Response:
        """Return the document. Starlette calls this on a thread, because reading the file takes a while."""
        return JSONResponse(openapi.document())
