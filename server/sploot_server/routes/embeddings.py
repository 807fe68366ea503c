"""How far the embeddings are, and making one now."""

import time

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from sploot_server import wire
from sploot_server.bodies import read_json
from sploot_server.library import Library
from sploot_server.model import EmbeddingState, Invalid, NotFound
from sploot_server.routes.values import object_of, owner_of

STATUS_IDS_MAX = 50


class Embeddings:
    def __init__(self, library: Library) -> None:
        self._library = library

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/api/assets/batch/embedding-status", self.batch_status, methods=["POST"]),
            Route("/api/assets/{id}/embedding-status", self.status, methods=["GET"]),
            Route("/api/assets/{id}/generate-embedding", self.generate_embedding, methods=["POST"]),
        ]

    async def batch_status(self, request: Request) -> Response:
        body = object_of(await read_json(request, malformed="Invalid request: assetIds must be an array"))
        ids = body.get("assetIds")
        if not isinstance(ids, list) or not all(isinstance(each, str) for each in ids):
            raise Invalid("Invalid request: assetIds must be an array")
        if len(ids) > STATUS_IDS_MAX:
            raise Invalid(f"Batch size exceeds maximum of {STATUS_IDS_MAX} assets")
        found = await self._library.of(owner_of(request)).embeddings(ids)
        return JSONResponse({"statuses": {each: wire.status(found.get(each)) for each in ids}})

    async def status(self, request: Request) -> Response:
        asset_id = request.path_params["id"]
        found = (await self._library.of(owner_of(request)).embeddings([asset_id])).get(asset_id)
        if found is None:
            raise NotFound
        return JSONResponse({"assetId": asset_id, **wire.status(found)})

    async def generate_embedding(self, request: Request) -> Response:
        began = time.perf_counter()
        library = self._library.of(owner_of(request))
        asset, existed = await library.generate_embedding(request.path_params["id"])
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
