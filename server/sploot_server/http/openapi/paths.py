"""OpenAPI paths: the operations and all their responses."""

from collections.abc import Mapping, Sequence
from typing import Any

from sploot_server.http.openapi.schemas import COUNT, REQUEST_TIME, TEXT, Schema, ref
from sploot_server.http.routes.batch import BUNDLE_BYTES_MAX, BUNDLE_FILES_MAX, CHECKS_MAX
from sploot_server.http.routes.local_import import UPLOAD_BY_PATH_FILES_MAX

JSON = "application/json"
STATUS_DESCRIPTIONS = {
    400: "Invalid request; `error` states the cause.",
    401: "Missing or invalid token; the header x-clerk-auth-status is `signed-out`.",
    403: "The token lacks the required scope, or the request comes from another website.",
    404: "The asset does not exist in this library.",
    408: "The request body arrived too slowly.",
    413: "The request exceeds a size limit.",
    422: "The image cannot be decoded.",
    429: "Too many invalid tokens from this address.",
    500: "Internal server error; see the log of the server.",
    503: "The server is busy or a backend is unavailable; the header retry-after has the delay in seconds.",
    507: "The disk of the library is full; the file was not stored.",
}
COMMON_STATUSES = (401, 403, 429, 500, 503, 507)
BODY_STATUSES = (400, 408, 413)
RETRY_AFTER_HEADER = {"retry-after": {"schema": {"type": "string", "pattern": "^[0-9]+$"}, "required": True}}


def response(description: str, schema: str | None = None, media_type: str = JSON) -> dict[str, Any]:
    """Return a response object."""
    if schema is None:
        return {"description": description}
    return {"description": description, "content": {media_type: {"schema": ref(schema)}}}


def error_response(status: int) -> dict[str, Any]:
    """Return the response object of an error status."""
    headers = {"headers": RETRY_AFTER_HEADER} if status in (429, 503) else {}
    return {**response(STATUS_DESCRIPTIONS[status], "Error"), **headers}


def operation(
    summary: str,
    responses: Mapping[int, dict[str, Any]],
    *error_statuses: int,
    body: str | None = None,
    media_type: str = JSON,
    parameters: Sequence[Schema] = (),
) -> dict[str, Any]:
    """Return an operation object. `error_statuses` are added to those that every operation can return."""
    codes = sorted({*COMMON_STATUSES, *error_statuses, *(BODY_STATUSES if body else ())})
    responses_by_status = {code: error_response(code) for code in codes} | dict(responses)
    result: dict[str, Any] = {
        "summary": summary,
        "parameters": list(parameters),
        "responses": {str(code): responses_by_status[code] for code in sorted(responses_by_status)},
    }
    if body:
        result["requestBody"] = {"required": True, "content": {media_type: {"schema": ref(body)}}}
    return result


def query_parameter(name: str, schema: Schema, description: str) -> Schema:
    """Return a parameter object for the query string."""
    return {"name": name, "in": "query", "schema": schema, "description": description}


FORM = "multipart/form-data"
NUMBER: Schema = {**COUNT, "maximum": 10**15 - 1}
ASSET_ID_PARAMETER: Schema = {
    "name": "id",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "minLength": 1},
}
LIST_PARAMETERS = [
    query_parameter("limit", NUMBER, "Page size; values above 1000 are reduced to 1000."),
    query_parameter("offset", NUMBER, "Number of assets to skip."),
    query_parameter("sortBy", {"enum": ["createdAt", "updatedAt"]}, "Default: createdAt."),
    query_parameter("sortOrder", {"enum": ["asc", "desc"]}, "Default: desc."),
    query_parameter("favorite", {"enum": ["true", "false"]}, "true: only favourites; false: only non-favourites."),
    query_parameter("tagId", TEXT, "Only assets with this tag."),
    query_parameter("mime", TEXT, "Only assets of this type, for example image/png."),
    query_parameter("createdAfter", REQUEST_TIME, "Only assets created at or after this time."),
    query_parameter("createdBefore", REQUEST_TIME, "Only assets created before this time."),
]
SIZE_PARAMETER = query_parameter(
    "size", NUMBER, "Longer side in pixels; the nearest of 64, 128, 256, 512, 1024 and 2048 is used."
)
PERMANENT_PARAMETER = query_parameter("permanent", {"enum": ["true", "false"]}, "true: also delete the original file.")

PATHS: Mapping[str, Any] = {
    "/api/openapi.json": {
        "get": operation(
            "Get this document", {200: {"description": "The OpenAPI document.", "content": {JSON: {"schema": {}}}}}
        ),
    },
    "/api/health": {"get": operation("Check that the server runs", {200: response("The server runs.", "Health")})},
    "/api/health/services": {
        "get": operation("Get the health of all services", {200: response("State of each service.", "Services")}),
    },
    "/api/upload": {
        "get": operation(
            "Get the upload limits and the features beyond Sploot's API",
            {200: response("Limits and features.", "Limits")},
        ),
        "post": operation(
            "Upload one file",
            {
                201: response("The asset was created, or restored after a soft delete.", "Uploaded"),
                409: response("The library already contains this content; the tags were added.", "Uploaded"),
            },
            body="UploadForm",
            media_type=FORM,
        ),
    },
    "/api/upload/check": {
        "post": operation(
            "Check by hash if the library contains a file",
            {200: response("The asset, if it exists.", "Checked")},
            body="CheckRequest",
        ),
    },
    "/api/upload/check/batch": {
        "post": operation(
            f"Check by hash if the library contains files, at most {CHECKS_MAX}",
            {200: response("One result per checksum, in lower case.", "CheckedBatch")},
            body="CheckBatchRequest",
        ),
    },
    "/api/upload/bundle": {
        "post": operation(
            f"Upload a bundle of at most {BUNDLE_FILES_MAX} files and {BUNDLE_BYTES_MAX} bytes in one form",
            {200: response("One result per file, in their order, with the status of a single upload.", "Bundle")},
            body="BundleForm",
            media_type=FORM,
        ),
    },
    "/api/upload/files": {
        "post": operation(
            f"Upload at most {UPLOAD_BY_PATH_FILES_MAX} files of this machine by path (feature `uploadByPath`)",
            {200: response("One result per file, in their order; 412 if size or checksum differ.", "Bundle")},
            body="UploadByPathRequest",
        ),
    },
    "/api/assets": {
        "get": operation(
            "List assets", {200: response("One page of assets.", "Assets")}, 400, parameters=LIST_PARAMETERS
        ),
    },
    "/api/assets/{id}": {
        "parameters": [ASSET_ID_PARAMETER],
        "get": operation("Get an asset", {200: response("The asset.", "OneAsset")}, 404),
        "patch": operation("Edit an asset", {200: response("The changed asset.", "OneAsset")}, 404, body="EditRequest"),
        "delete": operation(
            "Delete an asset",
            {200: response("The asset was deleted.", "Deleted")},
            404,
            parameters=[PERMANENT_PARAMETER],
        ),
    },
    "/api/assets/{id}/original": {
        "parameters": [ASSET_ID_PARAMETER],
        "get": operation(
            "Download the original",
            {
                200: {"description": "The whole file.", "content": {"image/*": {}}},
                206: {"description": "The requested range.", "content": {"image/*": {}}},
                304: response("Not modified."),
                416: response("The range starts after the end of the file."),
            },
            404,
        ),
    },
    "/api/assets/{id}/thumbnail": {
        "parameters": [ASSET_ID_PARAMETER],
        "get": operation(
            "Get a thumbnail as WebP",
            {
                200: {"description": "The thumbnail.", "content": {"image/webp": {}}},
                304: response("Not modified."),
            },
            400,
            404,
            503,
            parameters=[SIZE_PARAMETER],
        ),
    },
    "/api/assets/{id}/similar": {
        "parameters": [ASSET_ID_PARAMETER],
        "get": operation(
            "Find similar assets",
            {200: response("Matches, best first.", "Similar")},
            400,
            404,
            parameters=[LIST_PARAMETERS[0]],
        ),
    },
    "/api/assets/{id}/share": {
        "parameters": [ASSET_ID_PARAMETER],
        "post": operation(
            "Create a share link, or get the existing one", {200: response("The share link.", "Shared")}, 400, 404
        ),
        "delete": operation("Revoke the share link", {200: response("The asset is not shared.", "Deleted")}, 404),
    },
    "/s/{slug}": {
        "parameters": [{**ASSET_ID_PARAMETER, "name": "slug"}],
        "get": operation(
            "Get a shared image as WebP: first frame, upright, without metadata; requires no token",
            {200: {"description": "The image.", "content": {"image/webp": {}}}, 304: response("Not modified.")},
            404,
        ),
    },
    "/api/assets/{id}/tags": {
        "parameters": [ASSET_ID_PARAMETER],
        "post": operation(
            "Add tags, converted to lower case",
            {200: response("The tags added.", "AddedTags")},
            404,
            body="AddTagsRequest",
        ),
    },
    "/api/assets/{id}/embedding-status": {
        "parameters": [ASSET_ID_PARAMETER],
        "get": operation("Get the embedding status of an asset", {200: response("The status.", "Status")}, 404),
    },
    "/api/assets/{id}/generate-embedding": {
        "parameters": [ASSET_ID_PARAMETER],
        "post": operation(
            "Generate the embedding with priority",
            {
                200: response("The embedding is ready.", "Generated"),
                202: response("The embedding is queued.", "Generated"),
                422: response(STATUS_DESCRIPTIONS[422], "Generated"),
            },
            404,
        ),
    },
    "/api/assets/batch/embedding-status": {
        "post": operation(
            "Get the embedding status of many assets",
            {200: response("One status per asset.", "Statuses")},
            body="StatusesRequest",
        ),
    },
    "/api/tags": {"get": operation("List all tags", {200: response("Tags, ordered by name.", "Tags")})},
    "/api/search": {
        "post": operation("Search", {200: response("Matches, best first.", "Matches")}, body="SearchRequest"),
    },
    "/api/sse/embedding-updates": {
        "get": operation(
            "Subscribe to embedding updates as server-sent events",
            {200: {"description": "Unlimited event stream.", "content": {"text/event-stream": {}}}},
            400,
            parameters=[query_parameter("assetIds", TEXT, "Comma-separated asset ids; default: all assets.")],
        ),
    },
}
