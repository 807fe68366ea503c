"""Routes of embedding status, and to generate an embedding immediately."""

import time

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from sploot_server.domain.entities import EmbeddingState, InvalidInput, NotFound
from sploot_server.http import serializers
from sploot_server.http.request_body import read_object
from sploot_server.http.routes.params import get_owner
from sploot_server.library.service import Library

STATUS_IDS_MAX = 50


class EmbeddingRoutes:
    """Routes of embeddings."""

    def __init__(self, library: Library) -> None:
        self._library = library

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/api/assets/batch/embedding-status", self.batch_status, methods=["POST"]),
            Route("/api/assets/{id}/embedding-status", self.status, methods=["GET"]),
            Route("/api/assets/{id}/generate-embedding", self.generate_embedding, methods=["POST"]),
        ]

    async def batch_status(self, request: Request) -> Response:
        body = await read_object(request, malformed="Invalid request: assetIds must be an array")
        ids = body.get("assetIds")
        if not isinstance(ids, list) or not all(isinstance(each, str) for each in ids):
            raise InvalidInput("Invalid request: assetIds must be an array")
        if len(ids) > STATUS_IDS_MAX:
            raise InvalidInput(f"Batch size exceeds maximum of {STATUS_IDS_MAX} assets")
        found = await self._library.for_owner(get_owner(request)).get_embeddings(ids)
        return JSONResponse({"statuses": {each: serializers.embedding_status_to_json(found.get(each)) for each in ids}})

    async def status(self, request: Request) -> Response:
        asset_id = request.path_params["id"]
        found = (await self._library.for_owner(get_owner(request)).get_embeddings([asset_id])).get(asset_id)
        if found is None:
            raise NotFound
        return JSONResponse({"assetId": asset_id, **serializers.embedding_status_to_json(found)})

    async def generate_embedding(self, request: Request) -> Response:
        began = time.perf_counter()
        library = self._library.for_owner(get_owner(request))
        asset, existed = await library.generate_embedding(request.path_params["id"])
        current = asset.embedding
        if current.state is EmbeddingState.FAILED:
            return JSONResponse({"success": False, "error": current.error_message, "status": current.state.value}, 422)
        if current.state is not EmbeddingState.READY:
            body = {"success": True, "message": "Embedding queued", "status": current.state.value, "embedding": None}
            return JSONResponse(body, 202)
        message = "Embedding already exists" if existed else "Embedding generated successfully"
        took_ms = round((time.perf_counter() - began) * 1000)
        embedding = {
            "modelName": current.model,
            "dimension": current.dim,
            "processingTime": took_ms,
            "createdAt": serializers.format_optional_time(current.completed_at_ms),
        }
        body = {"success": True, "message": message, "status": current.state.value, "embedding": embedding}
        return JSONResponse(body)
