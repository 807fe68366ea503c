"""Routes of the page for members: its files, which hold no data of a user. See also `share_page.py`."""

import asyncio

import sploot_web
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from sploot_server.domain.entities import NotFound
from sploot_server.http.range_response import is_not_modified

INDEX = "server/index.html"
SERVICE_WORKER = "server/service_worker.js"
FOLDERS = ("ui/", "library/", "server/")
PAGE_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src 'self'; "
        "connect-src 'self'; worker-src 'self'; manifest-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-cache",
}


class PageRoutes:
    """Routes of the page and its files."""

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/", self.index, methods=["GET"]),
            Route("/static/{name:path}", self.static, methods=["GET"]),
            Route("/share-target", self.share_target, methods=["POST"]),
        ]

    async def index(self, request: Request) -> Response:
        return await _file_response(request, INDEX)

    async def static(self, request: Request) -> Response:
        name = request.path_params["name"]
        if not name.startswith(FOLDERS):
            raise NotFound
        return await _file_response(request, name)

    async def share_target(self, request: Request) -> Response:
        """Show the page: the service worker answers this request, and without one the pictures cannot be taken."""
        return RedirectResponse("/", 303)


async def _file_response(request: Request, name: str) -> Response:
    try:
        file = await asyncio.to_thread(sploot_web.read_file, name)
    except FileNotFoundError:
        raise NotFound from None
    headers = {**PAGE_HEADERS, "etag": file.etag, "content-type": file.content_type}
    if name == SERVICE_WORKER:
        headers["service-worker-allowed"] = "/"  # it serves the whole page, from a folder below
    if is_not_modified(file.etag, request.headers):
        return Response(status_code=304, headers=headers)
    return Response(file.content, headers=headers)
