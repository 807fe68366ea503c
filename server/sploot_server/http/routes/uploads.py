"""Routes of upload limits, the check by hash, and the upload of one file."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from sploot_server.config import Config
from sploot_server.domain.entities import InvalidInput
from sploot_server.domain.image_formats import missing_decoders
from sploot_server.http import serializers
from sploot_server.http.multipart import UploadForm, parse_tags
from sploot_server.http.request_body import read_object, stream_body
from sploot_server.http.routes.batch import FEATURES as BATCH_FEATURES
from sploot_server.http.routes.batch import upload_result_to_json
from sploot_server.http.routes.curation import FEATURES as CURATION_FEATURES
from sploot_server.http.routes.local_import import FEATURES as UPLOAD_BY_PATH_FEATURES
from sploot_server.http.routes.params import get_owner, original_url, parse_checksum
from sploot_server.http.tus.headers import FEATURES as TUS_FEATURES
from sploot_server.library.service import Library

FORM_OVERHEAD_BYTES_MAX = 64 * 1024  # of an upload form without its file
FEATURES = {
    "embeddingStates": "true",
    "push": ["websocket", "sse"],
    "similar": "true",
    "thumbnails": "true",
    "fileNames": "true",
    "shareList": "true",
    "shareExpiry": "true",
    "assetQueries": "true",
    "templates": "true",
    **BATCH_FEATURES,
    **CURATION_FEATURES,
}
"""Features beyond Sploot's API, by which clients detect them.

`embeddingStates`: the embedding status is reliable and one of pending, processing, ready and failed. `push`: the
protocols of the push channel (`push/endpoints.py`). `similar`: `/api/assets/{id}/similar` exists and search results
list near-duplicates. `thumbnails`: `/api/assets/{id}/thumbnail` exists. `fileNames`: the name of an upload, in a form
its field `originalName`, may be `folder/name.jpg`, and is kept and searched. `shareList`: `/api/shares` exists.
`shareExpiry`: a share link may end after `days`.
`assetQueries`: lists and searches know all of `AssetFilter` and `AssetSort`, rows have their `text`, and
`/api/folders` and `/api/assets/{id}/copied` exist. `changes`, `trash`, `tagEditing`, `duplicates`: see `curation.py`.
`templates`: `/api/templates` exists. `missingDecoders`: the extra of this package that brings the decoder of a type.
`checkBatch`, `bundle`: the limits of batch requests (`batch.py`). `resumable`: the protocol for large files
(`tus/handlers.py`). `uploadByPath`: the number of paths allowed in one request (`local_import.py`).
"""


class UploadRoutes:
    """Routes of uploads."""

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
        features = FEATURES | (TUS_FEATURES if self._config.supports_resumable_uploads else {})
        features |= UPLOAD_BY_PATH_FEATURES if self._config.allows_upload_by_path else {}
        decoders = missing_decoders(self._config.mime_types)
        features |= {"missingDecoders": decoders} if decoders else {}
        return JSONResponse({"status": "ready", "blobConfigured": True, "limits": limits, "features": features})

    async def upload(self, request: Request) -> Response:
        # Content-Length is only a hint: a chunked body has none, so the loop counts the bytes as well.
        declared = int(request.headers.get("content-length", "0"))
        if declared > self._config.upload_bytes_max + FORM_OVERHEAD_BYTES_MAX:
            self._library.check_size(declared)
        await self._library.check_disk_space(declared)
        async with self._library.open_upload() as sink:
            form = UploadForm(request.headers.get("content-type", ""), sink.write)
            received = 0
            async for chunk in stream_body(request):
                form.feed(chunk)
                received += len(chunk)
                self._library.check_size(sink.size_bytes)
                if received > sink.size_bytes + FORM_OVERHEAD_BYTES_MAX:
                    raise InvalidInput("The upload form contains too much data besides the file")
                await sink.flush_if_full()
            filename = form.finish()
            tags = parse_tags(form.tags)
            library = self._library.for_owner(get_owner(request))
            added = await library.add(sink, filename=filename, tags=tags or [])
        return JSONResponse(upload_result_to_json(request, added, tags), status_code=201 if added.created else 409)

    async def check(self, request: Request) -> Response:
        body = await read_object(request)
        asset = await self._library.for_owner(get_owner(request)).find_by_checksum(parse_checksum(body.get("checksum")))
        if asset is None:
            return JSONResponse({"exists": False, "message": "Asset not found. Safe to upload."})
        found = serializers.checked_asset_to_json(asset, original_url(request, asset))
        return JSONResponse({"exists": True, "asset": found, "message": "Asset already exists"})
