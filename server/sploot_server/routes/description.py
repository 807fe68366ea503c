"""What this server can be asked, for programs."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from sploot_server import openapi


class Description:
    def routes(self) -> list[BaseRoute]:
        return [Route(openapi.PATH, self.document, methods=["GET"])]

    async def document(self, request: Request) -> Response:
        return JSONResponse(openapi.document())
