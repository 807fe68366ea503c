"""What travels in bodies, as JSON Schema (draft 2020-12). No object has a field that is not named here."""

from collections.abc import Mapping
from typing import Any

from sploot_server.model import EmbeddingState
from sploot_server.routes.bundles import CHECKS_MAX
from sploot_server.routes.embeddings import STATUS_IDS_MAX
from sploot_server.routes.handovers import HANDOVER_FILES_MAX
from sploot_server.routes.searches import OFFSET_MAX, QUERY_CHARS_MAX

Schema = Mapping[str, Any]

TEXT: Schema = {"type": "string"}
NO_TEXT: Schema = {"type": ["string", "null"]}
FLAG: Schema = {"type": "boolean"}
COUNT: Schema = {"type": "integer", "minimum": 0}
NO_COUNT: Schema = {"type": ["integer", "null"], "minimum": 0}
SHARE: Schema = {"type": ["number", "null"]}
ID: Schema = {"type": "string", "pattern": "^c[0-9a-z]{24}$"}
CHECKSUM: Schema = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
ASKED_CHECKSUM: Schema = {"type": "string", "pattern": "^[0-9a-fA-F]{64}$"}
TIME: Schema = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$"}
NO_TIME: Schema = {"type": ["string", "null"], "pattern": TIME["pattern"]}
ASKED_TIME: Schema = {"type": "string", "format": "date-time"}
URL: Schema = {"type": "string", "pattern": "^https?://"}
STATE: Schema = {"enum": [state.value for state in EmbeddingState]}


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def many(each: Schema, **limits: int) -> Schema:
    return {"type": "array", "items": each, **limits}


def named(each: Schema) -> Schema:
    """An object whose keys are data."""
    return {"type": "object", "additionalProperties": each}


def of(fields: Mapping[str, Schema], optional: Mapping[str, Schema] | None = None) -> Schema:
    """An object with these fields, and perhaps the optional ones."""
    properties = {**fields, **(optional or {})}
    return {"type": "object", "properties": properties, "required": list(fields), "additionalProperties": False}


def asked(fields: Mapping[str, Schema], optional: Mapping[str, Schema] | None = None) -> Schema:
    """As `of`, of what a client sends: fields that are not known here are not looked at."""
    return {**of(fields, optional), "additionalProperties": True}


PICTURE = {"id": ID, "blobUrl": URL, "pathname": TEXT, "size": COUNT, "createdAt": TIME}
SIZES = {"width": NO_COUNT, "height": NO_COUNT}
LISTED = {**PICTURE, **SIZES, "filename": TEXT, "mime": TEXT, "favorite": FLAG, "embeddingStatus": STATE}
WHY = {"meaning": SHARE, "picture": SHARE, "coverage": {"type": "number"}, "words": many(TEXT)}
UPLOADED = {**PICTURE, "filename": TEXT, "mimeType": TEXT, "checksum": CHECKSUM, "needsEmbedding": FLAG}
CHECKED = {**PICTURE, **SIZES, "thumbnailUrl": NO_TEXT, "mime": TEXT, "checksumSha256": CHECKSUM, "hasEmbedding": FLAG}
TAKEN = {"success": {"const": True}, "isDuplicate": FLAG, "asset": ref("UploadedAsset"), "message": TEXT}
FILTERS: Mapping[str, Schema] = {
    "favorite": {"type": ["boolean", "null"]},
    "tagId": NO_TEXT,
    "mime": NO_TEXT,
    "createdAfter": ASKED_TIME,
    "createdBefore": ASKED_TIME,
}

SCHEMAS: Mapping[str, Schema] = {
    "Error": of({"error": TEXT}, {"success": {"const": False}}),
    "Health": of({"status": {"const": "ok"}, "timestamp": TIME}),
    "Services": of(
        {
            "status": {"enum": ["ok", "degraded"]},
            "timestamp": TIME,
            "services": named(of({"status": {"enum": ["ok", "error"]}})),
            "readiness": of({"canAuthenticate": FLAG, "canUpload": FLAG, "canStore": FLAG, "canSearch": FLAG}),
        }
    ),
    "Limits": of(
        {
            "status": {"const": "ready"},
            "blobConfigured": FLAG,
            "limits": of({"maxFileSize": COUNT, "allowedTypes": many(TEXT)}),
            "features": ref("Features"),
        }
    ),
    "Features": {
        "type": "object",
        "description": "Additions to Sploot's API; there will be more of them.",
        "properties": {
            "embeddingStates": {"const": "true"},
            "push": many({"enum": ["websocket", "sse"]}),
            "checkBatch": COUNT,
            "bundle": of({"files": COUNT, "bytes": COUNT}),
            "handOver": COUNT,
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
        "description": "Several `file` parts, each of them perhaps after a `tags` part of its own.",
        "properties": {"file": many({"type": "string", "format": "binary"})},
        "required": ["file"],
    },
    "HandOverRequest": asked({"files": many(ref("HandedFile"), minItems=1, maxItems=HANDOVER_FILES_MAX)}),
    "HandedFile": asked(
        {
            "path": {"type": "string", "contentEncoding": "base64", "description": "Absolute."},
            "size": COUNT,
            "checksum": ASKED_CHECKSUM,
            "filename": TEXT,
        },
        {"tags": many(TEXT)},
    ),
    "UploadedAsset": of(UPLOADED),
    "Uploaded": of(TAKEN, {"warning": TEXT}),
    "Bundle": of({"success": {"const": True}, "results": many({"anyOf": [ref("Taken"), ref("Refused")]})}),
    "Taken": of({"status": {"enum": [201, 409]}, **TAKEN}, {"warning": TEXT}),
    "Refused": of({"status": {"type": "integer", "minimum": 400}, "success": {"const": False}, "error": TEXT}),
    "CheckRequest": asked({"checksum": ASKED_CHECKSUM}),
    "CheckedAsset": of(CHECKED),
    "Checked": of({"exists": FLAG}, {"asset": ref("CheckedAsset"), "message": TEXT}),
    "CheckBatchRequest": asked({"checksums": many(ASKED_CHECKSUM, maxItems=CHECKS_MAX)}),
    "CheckedBatch": of({"results": named(ref("Checked"))}),
    "Tag": of({"id": ID, "name": TEXT}),
    "Embedding": of(
        {
            "assetId": ID,
            "modelName": TEXT,
            "modelVersion": NO_TEXT,
            "dim": COUNT,
            "status": STATE,
            "error": NO_TEXT,
            "completedAt": NO_TIME,
            "createdAt": TIME,
            "updatedAt": TIME,
        }
    ),
    "Asset": of(
        {
            **LISTED,
            "checksum": CHECKSUM,
            "updatedAt": TIME,
            "embedding": {"anyOf": [ref("Embedding"), {"type": "null"}]},
            "tags": many(ref("Tag")),
        }
    ),
    "OneAsset": of({"asset": ref("Asset")}),
    "Assets": of(
        {
            "assets": many(ref("Asset")),
            "pagination": of({"total": COUNT, "limit": COUNT, "offset": COUNT, "hasMore": FLAG}),
        }
    ),
    "EditRequest": asked({}, {"favorite": {"type": ["boolean", "null"]}, "tags": many(TEXT)}),
    "Deleted": of({"message": TEXT}, {"asset": of({"id": ID, "deletedAt": TIME})}),
    "Shared": of({"shareUrl": TEXT}),
    "AddTagsRequest": asked({}, {"tagNames": many(TEXT), "tagIds": many(TEXT)}),
    "AddedTags": of({"success": {"const": True}, "addedTags": many(ref("Tag"))}),
    "Tags": of(
        {
            "success": {"const": True},
            "tags": many(
                of(
                    {
                        "id": ID,
                        "name": TEXT,
                        "color": NO_TEXT,
                        "assetCount": COUNT,
                        "createdAt": TIME,
                        "updatedAt": TIME,
                    }
                )
            ),
        }
    ),
    "StatusesRequest": asked({"assetIds": many(TEXT, maxItems=STATUS_IDS_MAX)}),
    "Statuses": of({"statuses": named(of({"hasEmbedding": FLAG, "status": STATE}, {"error": TEXT}))}),
    "Status": of({"assetId": TEXT, "hasEmbedding": FLAG, "status": STATE}, {"error": TEXT}),
    "Generated": of(
        {"success": FLAG, "status": STATE},
        {
            "message": TEXT,
            "error": NO_TEXT,
            "embedding": {
                "anyOf": [
                    of({"modelName": NO_TEXT, "dimension": COUNT, "processingTime": COUNT, "createdAt": NO_TIME}),
                    {"type": "null"},
                ]
            },
        },
    ),
    "SearchRequest": asked(
        {"query": {"type": "string", "minLength": 1, "maxLength": QUERY_CHARS_MAX}},
        {
            "limit": {"type": "integer", "minimum": 1},
            "offset": {"type": "integer", "minimum": 0, "maximum": OFFSET_MAX},
            "threshold": {"type": "number", "minimum": 0, "maximum": 1},
            **FILTERS,
        },
    ),
    "Match": of(
        {
            **LISTED,
            "embedding": of({"assetId": ID}),
            "similarity": {"type": "number"},
            "relevance": {"type": "integer"},
            "belowThreshold": FLAG,
            "tags": many(ref("Tag")),
            "checksum": CHECKSUM,
            "matchedText": NO_TEXT,
            "others": many(ID),
            "why": of(WHY),
        }
    ),
    "Matches": of(
        {
            "results": many(ref("Match")),
            "query": TEXT,
            "total": COUNT,
            "limit": COUNT,
            "requestedLimit": COUNT,
            "offset": COUNT,
            "hasMore": FLAG,
            "threshold": SHARE,
            "requestedThreshold": SHARE,
            "processingTime": COUNT,
            "embeddingModel": NO_TEXT,
            "cached": FLAG,
            "thresholdFallback": FLAG,
            "byMeaning": FLAG,
        }
    ),
    "Similar": of({"results": many(ref("Match")), "total": COUNT, "limit": COUNT, "hasMore": FLAG}),
}
