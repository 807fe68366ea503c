"""JSON bodies of the Sploot API. Field names differ between endpoints because they do in Sploot."""

from datetime import UTC, datetime
from typing import Any

from sploot_server.domain.entities import Asset, Embedding, EmbeddingState, Tag, TagCount, Template, TemplateSummary
from sploot_server.library.search import Match

UNKNOWN_MODEL = "unknown"  # Sploot's model name for a failed embedding


def format_time(time_ms: int) -> str:
    """Format as ISO 8601 in UTC with milliseconds: `2026-11-22T20:48:03.120Z`."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def format_optional_time(time_ms: int | None) -> str | None:
    return None if time_ms is None else format_time(time_ms)


def uploaded_asset_to_json(asset: Asset, url: str) -> dict[str, Any]:
    """Return the asset of POST /api/upload."""
    return {
        "id": asset.id,
        "blobUrl": url,
        "pathname": asset.filename,
        "filename": asset.filename,
        "mimeType": asset.mime,
        "size": asset.size_bytes,
        "checksum": asset.checksum,
        "createdAt": format_time(asset.created_at_ms),
        "needsEmbedding": asset.embedding.state is not EmbeddingState.READY,
    }


def checked_asset_to_json(asset: Asset, url: str) -> dict[str, Any]:
    """Return the asset of POST /api/upload/check."""
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
        "createdAt": format_time(asset.created_at_ms),
    }


def asset_to_json(asset: Asset, url: str) -> dict[str, Any]:
    """Return the asset of GET /api/assets and /api/assets/{id}.

    `checksum`, `folder`, `embeddingStatus`, `text` and `deletedAt` extend Sploot's.
    """
    return {
        "id": asset.id,
        "blobUrl": url,
        "pathname": asset.filename,
        "filename": asset.filename,
        "folder": asset.folder,
        "mime": asset.mime,
        "size": asset.size_bytes,
        "width": asset.width,
        "height": asset.height,
        "favorite": asset.favorite,
        "checksum": asset.checksum,
        "createdAt": format_time(asset.created_at_ms),
        "updatedAt": format_time(asset.updated_at_ms),
        "embeddingStatus": asset.embedding.state.value,
        "embedding": embedding_to_json(asset),
        "tags": [tag_to_json(each) for each in asset.tags],
        "text": asset.text,
        "deletedAt": format_optional_time(asset.deleted_at_ms),
        "templates": [template_to_json(each) for each in asset.templates],
    }


def listed_asset_to_json(asset: Asset, url: str, near_duplicate_count: int) -> dict[str, Any]:
    """Return an asset of GET /api/assets; `nearDuplicateCount` extends Sploot's."""
    return {**asset_to_json(asset, url), "nearDuplicateCount": near_duplicate_count}


def match_to_json(match: Match, url: str, *, below_threshold: bool) -> dict[str, Any]:
    """Return a result of POST /api/search; `matchedText`, `why` and `nearDuplicates` (ids) extend Sploot's."""
    asset = match.asset
    return {
        "id": asset.id,
        "blobUrl": url,
        "pathname": asset.filename,
        "filename": asset.filename,
        "folder": asset.folder,
        "mime": asset.mime,
        "width": asset.width,
        "height": asset.height,
        "favorite": asset.favorite,
        "size": asset.size_bytes,
        "createdAt": format_time(asset.created_at_ms),
        "embedding": {"assetId": asset.id},
        "embeddingStatus": asset.embedding.state.value,
        "similarity": round(match.similarity, 4),
        "relevance": round(match.similarity * 100),
        "belowThreshold": below_threshold,
        "tags": [tag_to_json(each) for each in asset.tags],
        "templates": [template_to_json(each) for each in asset.templates],
        "checksum": asset.checksum,
        "matchedText": asset.text or "",
        "nearDuplicates": list(match.near_duplicates),
        "why": {
            "meaning": None if match.text_similarity is None else round(match.text_similarity, 4),
            "picture": None if match.image_similarity is None else round(match.image_similarity, 4),
            "coverage": round(match.coverage, 4),
            "words": list(match.matched_words),
            "template": match.template,
        },
    }


def embedding_to_json(asset: Asset) -> dict[str, Any] | None:
    """Return the embedding, or None while it is pending or processing; Sploot's clients rely on null."""
    embedding = asset.embedding
    if embedding.state in (EmbeddingState.PENDING, EmbeddingState.PROCESSING):
        return None
    return {
        "assetId": asset.id,
        "modelName": embedding.model or UNKNOWN_MODEL,
        "modelVersion": None,
        "dim": embedding.dim,
        "status": embedding.state.value,
        "error": embedding.error_message,
        "completedAt": format_optional_time(embedding.completed_at_ms),
        "createdAt": format_time(embedding.queued_at_ms),
        "updatedAt": format_time(embedding.completed_at_ms or embedding.queued_at_ms),
    }


def embedding_status_to_json(embedding: Embedding | None) -> dict[str, Any]:
    """Return an entry of the batch status, which is also the core of the single status."""
    if embedding is None:
        return {"hasEmbedding": False, "status": "failed", "error": "Asset not found or access denied"}
    body: dict[str, Any] = {"hasEmbedding": embedding.state is EmbeddingState.READY, "status": embedding.state.value}
    if embedding.error_message is not None:
        body["error"] = embedding.error_message
    return body


def template_to_json(each: Template) -> dict[str, Any]:
    return {"id": each.id, "name": each.name}


def template_summary_to_json(each: TemplateSummary) -> dict[str, Any]:
    return {
        **template_to_json(each.template),
        "keywords": list(each.template.keywords),
        "pictureCount": each.picture_count,
        "assetCount": each.asset_count,
    }


def tag_to_json(each: Tag) -> dict[str, Any]:
    return {"id": each.id, "name": each.name}


def tag_count_to_json(each: TagCount) -> dict[str, Any]:
    return {
        **tag_to_json(each.tag),
        "color": None,
        "assetCount": each.asset_count,
        "createdAt": format_time(each.created_at_ms),
        "updatedAt": format_time(each.created_at_ms),
    }
