"""OpenAPI schemas of request and response bodies (JSON Schema draft 2020-12). Response objects have no other fields."""

from collections.abc import Mapping
from typing import Any

from sploot_server.domain.entities import EmbeddingState
from sploot_server.http.routes.batch import CHECKS_MAX
from sploot_server.http.routes.embeddings import STATUS_IDS_MAX
from sploot_server.http.routes.local_import import UPLOAD_BY_PATH_FILES_MAX
from sploot_server.http.routes.search import OFFSET_MAX, QUERY_CHARS_MAX

Schema = Mapping[str, Any]

TEXT: Schema = {"type": "string"}
NULLABLE_TEXT: Schema = {"type": ["string", "null"]}
FLAG: Schema = {"type": "boolean"}
COUNT: Schema = {"type": "integer", "minimum": 0}
NULLABLE_COUNT: Schema = {"type": ["integer", "null"], "minimum": 0}
NULLABLE_SCORE: Schema = {"type": ["number", "null"]}
ID: Schema = {"type": "string", "pattern": "^c[0-9a-z]{24}$"}
CHECKSUM: Schema = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
REQUEST_CHECKSUM: Schema = {"type": "string", "pattern": "^[0-9a-fA-F]{64}$"}
TIME: Schema = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$"}
NULLABLE_TIME: Schema = {"type": ["string", "null"], "pattern": TIME["pattern"]}
REQUEST_TIME: Schema = {"type": "string", "format": "date-time"}
URL: Schema = {"type": "string", "pattern": "^https?://"}
STATE: Schema = {"enum": [state.value for state in EmbeddingState]}


def ref(name: str) -> Schema:
    """Return a reference to a component."""
    return {"$ref": f"#/components/schemas/{name}"}


def array_of(each: Schema, **limits: int) -> Schema:
    """Return the schema of an array."""
    return {"type": "array", "items": each, **limits}


def map_of(each: Schema) -> Schema:
    """Return the schema of an object with arbitrary keys."""
    return {"type": "object", "additionalProperties": each}


def object_of(fields: Mapping[str, Schema], optional: Mapping[str, Schema] | None = None) -> Schema:
    """Return the schema of an object with required and optional fields, and no others."""
    properties = {**fields, **(optional or {})}
    return {"type": "object", "properties": properties, "required": list(fields), "additionalProperties": False}


def request_object_of(fields: Mapping[str, Schema], optional: Mapping[str, Schema] | None = None) -> Schema:
    """Return the schema of a request object; unknown fields are ignored."""
    return {**object_of(fields, optional), "additionalProperties": True}


ASSET_BASE = {"id": ID, "blobUrl": URL, "pathname": TEXT, "size": COUNT, "createdAt": TIME}
DIMENSIONS = {"width": NULLABLE_COUNT, "height": NULLABLE_COUNT}
LISTED_ASSET = {**ASSET_BASE, **DIMENSIONS, "filename": TEXT, "mime": TEXT, "favorite": FLAG, "embeddingStatus": STATE}
WHY = {"meaning": NULLABLE_SCORE, "picture": NULLABLE_SCORE, "coverage": {"type": "number"}, "words": array_of(TEXT)}
UPLOADED_ASSET = {**ASSET_BASE, "filename": TEXT, "mimeType": TEXT, "checksum": CHECKSUM, "needsEmbedding": FLAG}
CHECKED_ASSET = {
    **ASSET_BASE,
    **DIMENSIONS,
    "thumbnailUrl": NULLABLE_TEXT,
    "mime": TEXT,
    "checksumSha256": CHECKSUM,
    "hasEmbedding": FLAG,
}
UPLOAD_RESULT = {"success": {"const": True}, "isDuplicate": FLAG, "asset": ref("UploadedAsset"), "message": TEXT}
FILTERS: Mapping[str, Schema] = {
    "favorite": {"type": ["boolean", "null"]},
    "tagId": NULLABLE_TEXT,
    "mime": NULLABLE_TEXT,
    "createdAfter": REQUEST_TIME,
    "createdBefore": REQUEST_TIME,
}

SCHEMAS: Mapping[str, Schema] = {
    "Error": object_of({"error": TEXT}, {"success": {"const": False}}),
    "Health": object_of({"status": {"const": "ok"}, "timestamp": TIME}),
    "Services": object_of(
        {
            "status": {"enum": ["ok", "degraded"]},
            "timestamp": TIME,
            "services": map_of(object_of({"status": {"enum": ["ok", "error"]}})),
            "readiness": object_of({"canAuthenticate": FLAG, "canUpload": FLAG, "canStore": FLAG, "canSearch": FLAG}),
        }
    ),
    "Limits": object_of(
        {
            "status": {"const": "ready"},
            "blobConfigured": FLAG,
            "limits": object_of({"maxFileSize": COUNT, "allowedTypes": array_of(TEXT)}),
            "features": ref("Features"),
        }
    ),
    "Features": {
        "type": "object",
        "description": "Features beyond Sploot's API; later versions add more.",
        "properties": {
            "embeddingStates": {"const": "true"},
            "push": array_of({"enum": ["websocket", "sse"]}),
            "checkBatch": COUNT,
            "bundle": object_of({"files": COUNT, "bytes": COUNT}),
            "uploadByPath": COUNT,
        },
    },
    "UploadForm": {
        "type": "object",
        "properties": {
            "tags": {"type": "string", "description": "A JSON array of at most 20 strings."},
            "file": {"type": "string", "format": "binary"},
        },
        "required": ["file"],
    },
    "BundleForm": {
        "type": "object",
        "description": "Several `file` parts, each optionally preceded by its own `tags` part.",
        "properties": {"file": array_of({"type": "string", "format": "binary"})},
        "required": ["file"],
    },
    "UploadByPathRequest": request_object_of(
        {"files": array_of(ref("UploadByPathFile"), minItems=1, maxItems=UPLOAD_BY_PATH_FILES_MAX)}
    ),
    "UploadByPathFile": request_object_of(
        {
            "path": {"type": "string", "contentEncoding": "base64", "description": "Absolute path."},
            "size": COUNT,
            "checksum": REQUEST_CHECKSUM,
            "filename": TEXT,
        },
        {"tags": array_of(TEXT)},
    ),
    "UploadedAsset": object_of(UPLOADED_ASSET),
    "Uploaded": object_of(UPLOAD_RESULT, {"warning": TEXT}),
    "Bundle": object_of(
        {"success": {"const": True}, "results": array_of({"anyOf": [ref("StoredFile"), ref("RejectedFile")]})}
    ),
    "StoredFile": object_of({"status": {"enum": [201, 409]}, **UPLOAD_RESULT}, {"warning": TEXT}),
    "RejectedFile": object_of(
        {"status": {"type": "integer", "minimum": 400}, "success": {"const": False}, "error": TEXT}
    ),
    "CheckRequest": request_object_of({"checksum": REQUEST_CHECKSUM}),
    "CheckedAsset": object_of(CHECKED_ASSET),
    "Checked": object_of({"exists": FLAG}, {"asset": ref("CheckedAsset"), "message": TEXT}),
    "CheckBatchRequest": request_object_of({"checksums": array_of(REQUEST_CHECKSUM, maxItems=CHECKS_MAX)}),
    "CheckedBatch": object_of({"results": map_of(ref("Checked"))}),
    "Tag": object_of({"id": ID, "name": TEXT}),
    "Embedding": object_of(
        {
            "assetId": ID,
            "modelName": TEXT,
            "modelVersion": NULLABLE_TEXT,
            "dim": COUNT,
            "status": STATE,
            "error": NULLABLE_TEXT,
            "completedAt": NULLABLE_TIME,
            "createdAt": TIME,
            "updatedAt": TIME,
        }
    ),
    "Asset": object_of(
        {
            **LISTED_ASSET,
            "checksum": CHECKSUM,
            "updatedAt": TIME,
            "embedding": {"anyOf": [ref("Embedding"), {"type": "null"}]},
            "tags": array_of(ref("Tag")),
        }
    ),
    "OneAsset": object_of({"asset": ref("Asset")}),
    "Assets": object_of(
        {
            "assets": array_of(ref("Asset")),
            "pagination": object_of({"total": COUNT, "limit": COUNT, "offset": COUNT, "hasMore": FLAG}),
        }
    ),
    "EditRequest": request_object_of({}, {"favorite": {"type": ["boolean", "null"]}, "tags": array_of(TEXT)}),
    "Deleted": object_of({"message": TEXT}, {"asset": object_of({"id": ID, "deletedAt": TIME})}),
    "Shared": object_of({"shareUrl": TEXT}),
    "AddTagsRequest": request_object_of({}, {"tagNames": array_of(TEXT), "tagIds": array_of(TEXT)}),
    "AddedTags": object_of({"success": {"const": True}, "addedTags": array_of(ref("Tag"))}),
    "Tags": object_of(
        {
            "success": {"const": True},
            "tags": array_of(
                object_of(
                    {
                        "id": ID,
                        "name": TEXT,
                        "color": NULLABLE_TEXT,
                        "assetCount": COUNT,
                        "createdAt": TIME,
                        "updatedAt": TIME,
                    }
                )
            ),
        }
    ),
    "StatusesRequest": request_object_of({"assetIds": array_of(TEXT, maxItems=STATUS_IDS_MAX)}),
    "Statuses": object_of({"statuses": map_of(object_of({"hasEmbedding": FLAG, "status": STATE}, {"error": TEXT}))}),
    "Status": object_of({"assetId": TEXT, "hasEmbedding": FLAG, "status": STATE}, {"error": TEXT}),
    "Generated": object_of(
        {"success": FLAG, "status": STATE},
        {
            "message": TEXT,
            "error": NULLABLE_TEXT,
            "embedding": {
                "anyOf": [
                    object_of(
                        {
                            "modelName": NULLABLE_TEXT,
                            "dimension": COUNT,
                            "processingTime": COUNT,
                            "createdAt": NULLABLE_TIME,
                        }
                    ),
                    {"type": "null"},
                ]
            },
        },
    ),
    "SearchRequest": request_object_of(
        {"query": {"type": "string", "minLength": 1, "maxLength": QUERY_CHARS_MAX}},
        {
            "limit": {"type": "integer", "minimum": 1},
            "offset": {"type": "integer", "minimum": 0, "maximum": OFFSET_MAX},
            "threshold": {"type": "number", "minimum": 0, "maximum": 1},
            **FILTERS,
        },
    ),
    "Match": object_of(
        {
            **LISTED_ASSET,
            "embedding": object_of({"assetId": ID}),
            "similarity": {"type": "number"},
            "relevance": {"type": "integer"},
            "belowThreshold": FLAG,
            "tags": array_of(ref("Tag")),
            "checksum": CHECKSUM,
            "matchedText": NULLABLE_TEXT,
            "nearDuplicates": array_of(ID),
            "why": object_of(WHY),
        }
    ),
    "Matches": object_of(
        {
            "results": array_of(ref("Match")),
            "query": TEXT,
            "total": COUNT,
            "limit": COUNT,
            "requestedLimit": COUNT,
            "offset": COUNT,
            "hasMore": FLAG,
            "threshold": NULLABLE_SCORE,
            "requestedThreshold": NULLABLE_SCORE,
            "processingTime": COUNT,
            "embeddingModel": NULLABLE_TEXT,
            "cached": FLAG,
            "thresholdFallback": FLAG,
            "byMeaning": FLAG,
        }
    ),
    "Similar": object_of({"results": array_of(ref("Match")), "total": COUNT, "limit": COUNT, "hasMore": FLAG}),
}
