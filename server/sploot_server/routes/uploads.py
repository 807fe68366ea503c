"""Pictures on their way in: what is taken, whether it is known, and the upload itself."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from sploot_server import wire
from sploot_server.bodies import pieces, read_json
from sploot_server.config import Config
from sploot_server.library import Library
from sploot_server.model import Invalid
from sploot_server.multipart import UploadForm, parse_tags
from sploot_server.routes.bundles import FEATURES as BUNDLES
from sploot_server.routes.bundles import upload_outcome
from sploot_server.routes.handovers import FEATURES as HANDOVERS
from sploot_server.routes.values import checksum_of, object_of, owner_of, url_of
from sploot_server.tus_headers import FEATURES as RESUMABLE

FORM_BYTES_MAX = 64 * 1024  # all of an upload form that is not the file
FEATURES = {"embeddingStates": "true", "push": ["websocket", "sse"], "similar": "true", "thumbnails": "true", **BUNDLES}
"""Additions to Sploot's API. `embeddingStates: "true"`: statuses are pending, processing, ready or failed, truly.
`push`: how to be told of embeddings that have ended, truly too (`live.py`). `similar`: there is
`/api/assets/{id}/similar`, and results name the near-duplicates behind them. `thumbnails`: there is
`/api/assets/{id}/thumbnail`. `checkBatch`, `bundle`: how much may be
asked about and sent in one request (`bundles.py`). `resumable`: how large files are sent. `handOver`: how many
files may be named in one request instead of being sent (`handovers.py`)."""


class Uploads:
    def __init__(self, config: Config, library: Library) -> None:
        self._config = config
        self._library = library

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/api/upload", self.limits, methods=["GET"]),
            Route("/api/upload", self.upload, methods=["POST"]),
            Route("/api/upload/check", self.check, methods=["POST"]),
        ]

    async def limits(self, request: Request) -> Response:
        limits = {"maxFileSize": self._config.upload_bytes_max, "allowedTypes": list(self._config.mime_types)}
        features = FEATURES | (RESUMABLE if self._config.resumes_uploads else {})
        features |= HANDOVERS if self._config.takes_files else {}
        return JSONResponse({"status": "ready", "blobConfigured": True, "limits": limits, "features": features})

    async def upload(self, request: Request) -> Response:
        declared = int(request.headers.get("content-length", "0"))
        if declared > self._config.upload_bytes_max + FORM_BYTES_MAX:
            self._library.refuse_oversize(declared)
        async with self._library.incoming() as incoming:
            form = UploadForm(request.headers.get("content-type", ""), incoming.write)
            received = 0
            async for piece in pieces(request):
                form.feed(piece)
                received += len(piece)
                self._library.refuse_oversize(incoming.size_bytes)
                if received > incoming.size_bytes + FORM_BYTES_MAX:
                    raise Invalid("The upload form holds too much besides the file")
                await incoming.settle()
            filename = form.finish()
            tags = parse_tags(form.tags)
            library = self._library.of(owner_of(request))
            added = await library.add(incoming, filename=filename, tags=tags or [])
        return JSONResponse(upload_outcome(request, added, tags), status_code=201 if added.created else 409)

    async def check(self, request: Request) -> Response:
        body = object_of(await read_json(request, malformed="The request body is not valid JSON"))
        asset = await self._library.of(owner_of(request)).find(checksum_of(body.get("checksum")))
        if asset is None:
            return JSONResponse({"exists": False, "message": "Asset not found. Safe to upload."})
        found = wire.checked(asset, url_of(request, asset))
        return JSONResponse({"exists": True, "asset": found, "message": "Asset already exists"})
