"""Routes of templates. They extend Sploot's API."""

from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from sploot_server.domain.entities import Template, TemplateSummary
from sploot_server.http import serializers
from sploot_server.http.request_body import read_object, stream_body
from sploot_server.http.routes.params import get_owner, parse_name, parse_strings
from sploot_server.library.service import Library
from sploot_server.library.templates import Templates


class TemplateRoutes:
    """Routes of templates."""

    def __init__(self, templates: Templates, library: Library) -> None:
        self._templates = templates
        self._library = library

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/api/templates", self.list, methods=["GET"]),
            Route("/api/templates", self.learn, methods=["POST"]),
            Route("/api/templates/{id}", self.remove, methods=["DELETE"]),
            Route("/api/assets/{id}/template", self.name, methods=["PUT"]),
        ]

    async def list(self, request: Request) -> Response:
        templates = await self.find(request)
        return JSONResponse({"templates": [serializers.template_summary_to_json(each) for each in templates]})

    async def find(self, request: Request) -> Sequence[TemplateSummary]:
        """Return the templates of the user, by name."""
        return await self._templates.list(owner=get_owner(request))

    async def learn(self, request: Request) -> Response:
        """Learn a template from the picture in the body."""
        name, keywords = request.query_params.get("name", ""), request.query_params.getlist("keyword")
        data = bytearray()
        async for chunk in stream_body(request):
            data += chunk
            self._library.check_size(len(data))
        learned = await self._templates.learn(bytes(data), name, keywords, owner=get_owner(request))
        return JSONResponse({"template": serializers.template_to_json(learned)}, status_code=201)

    async def name(self, request: Request) -> Response:
        return JSONResponse({"template": serializers.template_to_json(await self.name_asset(request))})

    async def name_asset(self, request: Request) -> Template:
        """Name the template of an asset, and so of all that share it."""
        body = await read_object(request)
        keywords = parse_strings(body.get("keywords", []), "keywords")
        return await self._templates.name_asset(
            request.path_params["id"], parse_name(body), keywords, owner=get_owner(request)
        )

    async def remove(self, request: Request) -> Response:
        await self._templates.remove(request.path_params["id"], owner=get_owner(request))
        return JSONResponse({"message": "The template is forgotten; no picture was deleted"})
