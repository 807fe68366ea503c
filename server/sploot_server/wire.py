"""Sploot's JSON bodies, made of the model. Field names differ between endpoints because Sploot's do."""

from datetime import UTC, datetime
from typing import Any

from sploot_server.model import Asset, Embedding, EmbeddingState, Tag, TagCount
from sploot_server.search import Match

NO_MODEL = "unknown"  # what Sploot calls the model of a failed embedding


def iso(time_ms: int) -> str:
    """ISO 8601, UTC, milliseconds: `2026-11-22T20:48:03.120Z`."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def iso_or_none(time_ms: int | None) -> str | None:
    return None if time_ms is None else iso(time_ms)


def uploaded(asset: Asset, url: str) -> dict[str, Any]:
    """The asset of POST /api/upload."""
    return {
        "id": asset.id,
        "blobUrl": url,
        "pathname": asset.filename,
        "filename": asset.filename,
        "mimeType": asset.mime,
        "size": asset.size_bytes,
        "checksum": asset.checksum,
        "createdAt": iso(asset.created_at_ms),
        "needsEmbedding": asset.embedding.state is not EmbeddingState.READY,
    }


def checked(asset: Asset, url: str) -> dict[str, Any]:
    """The asset of POST /api/upload/check."""
    return {
        "id": asset.id,
        "blobUrl": url,
        "thumbnailUrl": None,
        "pathname": asset.filename,
        "mime": asset.mime,
        "size": asset.size_bytes,
        "width": asset.width,
        "height": asset.height,
        "checksumSha256": asset.checksum,
        "hasEmbedding": asset.embedding.state is EmbeddingState.READY,
        "createdAt": iso(asset.created_at_ms),
    }


def listed(asset: Asset, url: str) -> dict[str, Any]:
    """The asset of GET /api/assets and of /api/assets/{id}; `checksum` and `embeddingStatus` are additions."""
    return {
        "id": asset.id,
        "blobUrl": url,
        "pathname": asset.filename,
        "filename": asset.filename,
        "mime": asset.mime,
        "size": asset.size_bytes,
        "width": asset.width,
        "height": asset.height,
        "favorite": asset.favorite,
        "checksum": asset.checksum,
        "createdAt": iso(asset.created_at_ms),
        "updatedAt": iso(asset.updated_at_ms),
        "embeddingStatus": asset.embedding.state.value,
        "embedding": embedding(asset),
        "tags": [tag(each) for each in asset.tags],
    }


def result(match: Match, url: str, *, below: bool) -> dict[str, Any]:
    """A result of POST /api/search; `matchedText`, `why` and `others` (near-duplicates' ids) are additions."""
    asset = match.asset
    return {
        "id": asset.id,
        "blobUrl": url,
        "pathname": asset.filename,
        "filename": asset.filename,
        "mime": asset.mime,
        "width": asset.width,
        "height": asset.height,
        "favorite": asset.favorite,
        "size": asset.size_bytes,
        "createdAt": iso(asset.created_at_ms),
        "embedding": {"assetId": asset.id},
        "embeddingStatus": asset.embedding.state.value,
        "similarity": round(match.similarity, 4),
        "relevance": round(match.similarity * 100),
        "belowThreshold": below,
        "tags": [tag(each) for each in asset.tags],
        "checksum": asset.checksum,
        "matchedText": match.text,
        "others": list(match.others),
        "why": {
            "meaning": None if match.meaning is None else round(match.meaning, 4),
            "picture": None if match.picture is None else round(match.picture, 4),
            "coverage": round(match.coverage, 4),
            "words": list(match.words),
        },
    }


def embedding(asset: Asset) -> dict[str, Any] | None:
    """None while it is being made, which is how Sploot's clients know."""
    made = asset.embedding
    if made.state in (EmbeddingState.PENDING, EmbeddingState.PROCESSING):
        return None
    return {
        "assetId": asset.id,
        "modelName": made.model or NO_MODEL,
        "modelVersion": None,
        "dim": made.dim,
        "status": made.state.value,
        "error": made.error,
        "completedAt": iso_or_none(made.completed_at_ms),
        "createdAt": iso(made.queued_at_ms),
        "updatedAt": iso(made.completed_at_ms or made.queued_at_ms),
    }


def status(made: Embedding | None) -> dict[str, Any]:
    """One entry of the batch status, and the core of the single one."""
    if made is None:
        return {"hasEmbedding": False, "status": "failed", "error": "Asset not found or access denied"}
    body: dict[str, Any] = {"hasEmbedding": made.state is EmbeddingState.READY, "status": made.state.value}
    if made.error is not None:
        body["error"] = made.error
    return body


def tag(each: Tag) -> dict[str, Any]:
    return {"id": each.id, "name": each.name}


def tag_count(each: TagCount) -> dict[str, Any]:
    return {
        **tag(each.tag),
        "color": None,
        "assetCount": each.asset_count,
        "createdAt": iso(each.created_at_ms),
        "updatedAt": iso(each.created_at_ms),
    }
