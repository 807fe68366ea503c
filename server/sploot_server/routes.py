"""Sploot's HTTP API on the library: requests in, JSON out. Every answer but an original is JSON, errors too."""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from sploot_server import wire
from sploot_server.assets import Filter
from sploot_server.bodies import pieces, read_json
from sploot_server.config import Config
from sploot_server.library import Library, now_ms
from sploot_server.model import Asset, AssetQuery, EmbeddingState, Invalid, NotFound
from sploot_server.multipart import UploadForm, parse_tags
from sploot_server.search import Search

CHECKSUM = re.compile(r"[0-9a-fA-F]{64}")
STATUS_IDS_MAX = 50
PAGE_MAX = 1000
QUERY_CHARS_MAX = 500
RESULTS_MIN = 10  # as in Sploot: a page is filled up from below the threshold
FORM_BYTES_MAX = 64 * 1024  # all of an upload form that is not the file
FEATURES = {"embeddingStates": "true", "push": ["websocket", "sse"]}
"""Additions to Sploot's API. `embeddingStates: "true"`: statuses are pending, processing, ready or failed, truly.
`push`: how to be told of embeddings that have ended, truly too (`live.py`)."""


class Api:
    """One method per endpoint; `routes` is the table of contents."""

    def __init__(self, config: Config, library: Library, search: Search) -> None:
        self._config = config
        self._library = library
        self._search = search

    def routes(self) -> list[Route]:
        return [
            Route("/api/health", self.health, methods=["GET"]),
            Route("/api/upload", self.limits, methods=["GET"]),
            Route("/api/upload", self.upload, methods=["POST"]),
            Route("/api/upload/check", self.check, methods=["POST"]),
            Route("/api/assets", self.list, methods=["GET"]),
            Route("/api/assets/batch/embedding-status", self.batch_status, methods=["POST"]),
            Route("/api/assets/{id}", self.get, methods=["GET"]),
            Route("/api/assets/{id}", self.edit, methods=["PATCH"]),
            Route("/api/assets/{id}", self.delete, methods=["DELETE"]),
            Route("/api/assets/{id}/original", self.original, methods=["GET"], name="original"),
            Route("/api/assets/{id}/embedding-status", self.status, methods=["GET"]),
            Route("/api/assets/{id}/generate-embedding", self.generate_embedding, methods=["POST"]),
            Route("/api/assets/{id}/tags", self.add_tags, methods=["POST"]),
            Route("/api/search", self.search, methods=["POST"]),
            Route("/api/tags", self.tags, methods=["GET"]),
        ]

    async def health(self, request: Request) -> Response:
        body = {"status": "ok", "timestamp": wire.iso(now_ms())}
        return JSONResponse(body, headers={"cache-control": "no-store"})

    async def limits(self, request: Request) -> Response:
        limits = {"maxFileSize": self._config.upload_bytes_max, "allowedTypes": list(self._config.mime_types)}
        return JSONResponse({"status": "ready", "blobConfigured": True, "limits": limits, "features": FEATURES})

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
            added = await self._library.add(incoming, filename=filename, tags=tags or [])
        body = {
            "success": True,
            "isDuplicate": not added.created,
            "asset": wire.uploaded(added.asset, _url(request, added.asset)),
            "message": "Upload successful" if added.created else "This image already exists in your library",
        }
        if tags is None:
            body["warning"] = "The tags were ignored: they are not a JSON array of strings"
        return JSONResponse(body, status_code=201 if added.created else 409)

    async def check(self, request: Request) -> Response:
        body = _object(await read_json(request, malformed="The request body is not valid JSON"))
        checksum = body.get("checksum")
        if not isinstance(checksum, str) or not checksum:
            raise Invalid("Checksum is required and must be a string")
        if not CHECKSUM.fullmatch(checksum):
            raise Invalid("Invalid checksum format. Expected SHA256 hash (64 hex characters)")
        asset = await self._library.find(checksum)
        if asset is None:
            return JSONResponse({"exists": False, "message": "Asset not found. Safe to upload."})
        found = wire.checked(asset, _url(request, asset))
        return JSONResponse({"exists": True, "asset": found, "message": "Asset already exists"})

    async def list(self, request: Request) -> Response:
        query = _asset_query(request.query_params)
        page = await self._library.list(query)
        assets = [wire.listed(asset, _url(request, asset)) for asset in page.assets]
        pagination = {
            "total": page.total,
            "limit": query.limit,
            "offset": query.offset,
            "hasMore": query.offset + len(assets) < page.total,
        }
        return JSONResponse({"assets": assets, "pagination": pagination})

    async def get(self, request: Request) -> Response:
        asset = await self._library.get(request.path_params["id"])
        return JSONResponse({"asset": wire.listed(asset, _url(request, asset))})

    async def edit(self, request: Request) -> Response:
        body = _object(await read_json(request, malformed="The request body is not valid JSON"))
        favorite, tags = body.get("favorite"), body.get("tags")
        if favorite is not None and not isinstance(favorite, bool):
            raise Invalid("favorite must be true or false")
        if tags is not None:
            tags = _strings(tags, "tags")
        asset = await self._library.edit(request.path_params["id"], favorite=favorite, tags=tags)
        return JSONResponse({"asset": wire.listed(asset, _url(request, asset))})

    async def delete(self, request: Request) -> Response:
        asset_id = request.path_params["id"]
        if request.query_params.get("permanent") == "true":
            await self._library.purge(asset_id)
            return JSONResponse({"message": "Asset permanently deleted"})
        deleted_at = wire.iso(await self._library.delete(asset_id))
        return JSONResponse({"message": "Asset soft deleted", "asset": {"id": asset_id, "deletedAt": deleted_at}})

    async def original(self, request: Request) -> Response:
        asset, path = await self._library.original(request.path_params["id"])
        headers = {
            "etag": f'"{asset.checksum}"',
            "cache-control": "private, max-age=31536000, immutable",
            "content-security-policy": "sandbox; default-src 'none'",
            "x-content-type-options": "nosniff",
        }
        return FileResponse(
            path, headers=headers, filename=asset.filename, media_type=asset.mime, content_disposition_type="inline"
        )

    async def batch_status(self, request: Request) -> Response:
        body = _object(await read_json(request, malformed="Invalid request: assetIds must be an array"))
        ids = body.get("assetIds")
        if not isinstance(ids, list) or not all(isinstance(each, str) for each in ids):
            raise Invalid("Invalid request: assetIds must be an array")
        if len(ids) > STATUS_IDS_MAX:
            raise Invalid(f"Batch size exceeds maximum of {STATUS_IDS_MAX} assets")
        found = await self._library.embeddings(ids)
        return JSONResponse({"statuses": {each: wire.status(found.get(each)) for each in ids}})

    async def status(self, request: Request) -> Response:
        asset_id = request.path_params["id"]
        found = (await self._library.embeddings([asset_id])).get(asset_id)
        if found is None:
            raise NotFound
        return JSONResponse({"assetId": asset_id, **wire.status(found)})

    async def generate_embedding(self, request: Request) -> Response:
        began = time.perf_counter()
        asset, existed = await self._library.generate_embedding(request.path_params["id"])
        made = asset.embedding
        if made.state is EmbeddingState.FAILED:
            return JSONResponse({"success": False, "error": made.error, "status": made.state.value}, 422)
        if made.state is not EmbeddingState.READY:
            body = {"success": True, "message": "Embedding queued", "status": made.state.value, "embedding": None}
            return JSONResponse(body, 202)
        message = "Embedding already exists" if existed else "Embedding generated successfully"
        took_ms = round((time.perf_counter() - began) * 1000)
        embedding = {
            "modelName": made.model,
            "dimension": made.dim,
            "processingTime": took_ms,
            "createdAt": wire.iso_or_none(made.completed_at_ms),
        }
        body = {"success": True, "message": message, "status": made.state.value, "embedding": embedding}
        return JSONResponse(body)

    async def search(self, request: Request) -> Response:
        began = time.perf_counter()
        asked = SearchRequest.of(_object(await read_json(request, malformed="Missing or invalid query parameter")))
        limit = max(asked.limit, RESULTS_MIN)
        matches = await self._search.find(asked.query, limit=limit, only=asked.only)
        over = [match for match in matches.matches if match.similarity >= asked.threshold]
        shown = matches.matches[: max(len(over), RESULTS_MIN)]
        body = {
            "results": [
                wire.result(match, _url(request, match.asset), below=match.similarity < asked.threshold)
                for match in shown
            ],
            "query": asked.query,
            "total": len(shown),
            "limit": limit,
            "requestedLimit": asked.limit,
            "threshold": asked.threshold,
            "requestedThreshold": asked.threshold,
            "processingTime": round((time.perf_counter() - began) * 1000),
            "embeddingModel": matches.model,
            "cached": False,
            "thresholdFallback": len(shown) > len(over),
            "byMeaning": matches.model is not None,
        }
        return JSONResponse(body)

    async def add_tags(self, request: Request) -> Response:
        body = _object(await read_json(request, malformed="The request body is not valid JSON"))
        names = _strings(body.get("tagNames", []), "tagNames")
        tag_ids = _strings(body.get("tagIds", []), "tagIds")
        added = await self._library.add_tags(request.path_params["id"], names=names, tag_ids=tag_ids)
        return JSONResponse({"success": True, "addedTags": [wire.tag(each) for each in added]})

    async def tags(self, request: Request) -> Response:
        return JSONResponse({"success": True, "tags": [wire.tag_count(each) for each in await self._library.tags()]})


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """The body of POST /api/search; `favorite` and `tagId` are additions."""

    query: str
    limit: int
    threshold: float
    only: Filter

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> "SearchRequest":
        """Raises Invalid."""
        query = body.get("query")
        if not isinstance(query, str) or not query.strip():
            raise Invalid("Missing or invalid query parameter")
        if len(query) > QUERY_CHARS_MAX:
            raise Invalid(f"Query text too long (max {QUERY_CHARS_MAX} characters)")
        limit, threshold = body.get("limit", 30), body.get("threshold", 0.2)
        if type(limit) is not int or limit < 1:
            raise Invalid("limit must be a whole number, 1 or more")
        if type(threshold) not in (int, float) or not 0 <= threshold <= 1:
            raise Invalid("threshold must be a number from 0 to 1")
        favorite, tag_id = body.get("favorite"), body.get("tagId")
        if favorite is not None and not isinstance(favorite, bool):
            raise Invalid("favorite must be true or false")
        if tag_id is not None and not isinstance(tag_id, str):
            raise Invalid("tagId must be a string")
        return cls(query, min(limit, PAGE_MAX), float(threshold), Filter(favorite, tag_id))


def _url(request: Request, asset: Asset) -> str:
    return str(request.url_for("original", id=asset.id))


def _object(body: Any) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise Invalid("The request body must be a JSON object")
    return body


def _strings(value: Any, name: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise Invalid(f"{name} must be an array of strings")
    return value


def _asset_query(parameters: Mapping[str, str]) -> AssetQuery:
    sort_by = parameters.get("sortBy", "createdAt")
    if sort_by not in ("createdAt", "updatedAt"):
        raise Invalid("sortBy must be createdAt or updatedAt")
    order = parameters.get("sortOrder", "desc")
    if order not in ("asc", "desc"):
        raise Invalid("sortOrder must be asc or desc")
    return AssetQuery(
        limit=min(_whole_number(parameters, "limit", 50), PAGE_MAX),
        offset=_whole_number(parameters, "offset", 0),
        sort_by=sort_by,
        descending=order == "desc",
        favorite=None if "favorite" not in parameters else parameters["favorite"] == "true",
        tag_id=parameters.get("tagId"),
    )


def _whole_number(parameters: Mapping[str, str], name: str, default: int) -> int:
    text = parameters.get(name)
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > 15:
        raise Invalid(f"{name} must be a whole number, 0 or more")
    return int(text)
