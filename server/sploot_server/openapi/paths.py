"""What can be asked, and each answer that there may be."""

from collections.abc import Mapping, Sequence
from typing import Any

from sploot_server.openapi.schemas import ASKED_TIME, COUNT, TEXT, Schema, ref
from sploot_server.routes.bundles import BUNDLE_BYTES_MAX, BUNDLE_FILES_MAX, CHECKS_MAX
from sploot_server.routes.handovers import HANDOVER_FILES_MAX

JSON = "application/json"
SAYINGS = {
    400: "Something in the request is not acceptable; the error says what.",
    401: "Nobody is signed in; the header x-clerk-auth-status says so, too.",
    403: "The token has not the scope for this, or the request comes from another web site.",
    404: "There is no such asset in this library.",
    408: "The body came in too slowly.",
    413: "More than is taken in one request.",
    422: "The picture cannot be read.",
    429: "Too many wrong tokens came from this address.",
    500: "A fault of the server, whose log says why.",
    503: "Busy; the header retry-after says for how long.",
    507: "The disk of the library is full; nothing was stored.",
}
ANYWHERE = (401, 403, 429, 500, 503, 507)
WITH_A_BODY = (400, 408, 413)
PATIENCE = {"retry-after": {"schema": {"type": "string", "pattern": "^[0-9]+$"}, "required": True}}


def answer(description: str, schema: str | None = None, kind: str = JSON) -> dict[str, Any]:
    if schema is None:
        return {"description": description}
    return {"description": description, "content": {kind: {"schema": ref(schema)}}}


def refusal(status: int) -> dict[str, Any]:
    headers = {"headers": PATIENCE} if status in (429, 503) else {}
    return {**answer(SAYINGS[status], "Error"), **headers}


def operation(
    summary: str,
    answers: Mapping[int, dict[str, Any]],
    *refusals: int,
    body: str | None = None,
    kind: str = JSON,
    parameters: Sequence[Schema] = (),
) -> dict[str, Any]:
    """One method of a path: `refusals` are those of its own, beside those that are said anywhere."""
    codes = sorted({*ANYWHERE, *refusals, *(WITH_A_BODY if body else ())})
    said = {code: refusal(code) for code in codes} | dict(answers)
    described: dict[str, Any] = {
        "summary": summary,
        "parameters": list(parameters),
        "responses": {str(code): said[code] for code in sorted(said)},
    }
    if body:
        described["requestBody"] = {"required": True, "content": {kind: {"schema": ref(body)}}}
    return described


def query(name: str, schema: Schema, description: str) -> Schema:
    return {"name": name, "in": "query", "schema": schema, "description": description}


FORM = "multipart/form-data"
NUMBER: Schema = {**COUNT, "maximum": 10**15 - 1}
ASSET_ID: Schema = {"name": "id", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
LIST = [
    query("limit", NUMBER, "At most 1000 are given."),
    query("offset", NUMBER, "So many are left out."),
    query("sortBy", {"enum": ["createdAt", "updatedAt"]}, "createdAt where nothing is said."),
    query("sortOrder", {"enum": ["asc", "desc"]}, "desc where nothing is said."),
    query("favorite", {"enum": ["true", "false"]}, "Only favourites, or only others."),
    query("tagId", TEXT, "Only what carries this tag."),
    query("mime", TEXT, "Only this type, as image/png."),
    query("createdAfter", ASKED_TIME, "From this time on."),
    query("createdBefore", ASKED_TIME, "Before this time."),
]
SIZE = query("size", NUMBER, "Of its longer side in pixels, about: 64, 128, 256, 512, 1024 or 2048 are made.")
PERMANENT = query("permanent", {"enum": ["true", "false"]}, "true: the bytes are removed, too.")

PATHS: Mapping[str, Any] = {
    "/api/openapi.json": {
        "get": operation("This document", {200: {"description": "It.", "content": {JSON: {"schema": {}}}}}),
    },
    "/api/health": {"get": operation("Whether it runs", {200: answer("It does.", "Health")})},
    "/api/health/services": {
        "get": operation("How the services behind it are", {200: answer("Well or not.", "Services")}),
    },
    "/api/upload": {
        "get": operation("What is taken, and what is offered beyond Sploot's API", {200: answer("This.", "Limits")}),
        "post": operation(
            "Send one picture",
            {
                201: answer("It was created, or brought back after it was removed softly.", "Uploaded"),
                409: answer("The library has these bytes; tags were added.", "Uploaded"),
            },
            body="UploadForm",
            kind=FORM,
        ),
    },
    "/api/upload/check": {
        "post": operation(
            "Ask by hash whether it is there", {200: answer("Yes or no.", "Checked")}, body="CheckRequest"
        ),
    },
    "/api/upload/check/batch": {
        "post": operation(
            f"Ask by hash whether they are there, at most {CHECKS_MAX}",
            {200: answer("By checksum in lower case, yes or no.", "CheckedBatch")},
            body="CheckBatchRequest",
        ),
    },
    "/api/upload/bundle": {
        "post": operation(
            f"Send pictures, at most {BUNDLE_FILES_MAX} in {BUNDLE_BYTES_MAX} bytes of form",
            {200: answer("An outcome for each, in their order, with the status of an upload of its own.", "Bundle")},
            body="BundleForm",
            kind=FORM,
        ),
    },
    "/api/upload/files": {
        "post": operation(
            f"Hand over at most {HANDOVER_FILES_MAX} files of this machine by name, where `handOver` is announced",
            {200: answer("An outcome for each, in their order; 412 if it is not what was said of it.", "Bundle")},
            body="HandOverRequest",
        ),
    },
    "/api/assets": {"get": operation("List", {200: answer("A page.", "Assets")}, 400, parameters=LIST)},
    "/api/assets/{id}": {
        "parameters": [ASSET_ID],
        "get": operation("Look at one", {200: answer("It.", "OneAsset")}, 404),
        "patch": operation("Change it", {200: answer("As it is now.", "OneAsset")}, 404, body="EditRequest"),
        "delete": operation("Remove it", {200: answer("Done.", "Deleted")}, 404, parameters=[PERMANENT]),
    },
    "/api/assets/{id}/original": {
        "parameters": [ASSET_ID],
        "get": operation(
            "The picture, byte for byte",
            {
                200: {"description": "All of it.", "content": {"image/*": {}}},
                206: {"description": "The range asked for.", "content": {"image/*": {}}},
                304: answer("The client has it."),
                416: answer("There is no such range."),
            },
            404,
        ),
    },
    "/api/assets/{id}/thumbnail": {
        "parameters": [ASSET_ID],
        "get": operation(
            "A small still of it, as WebP",
            {200: {"description": "It.", "content": {"image/webp": {}}}, 304: answer("The client has it.")},
            400,
            404,
            503,
            parameters=[SIZE],
        ),
    },
    "/api/assets/{id}/similar": {
        "parameters": [ASSET_ID],
        "get": operation("What is like it", {200: answer("Best first.", "Similar")}, 400, 404, parameters=[LIST[0]]),
    },
    "/api/assets/{id}/share": {
        "parameters": [ASSET_ID],
        "post": operation("Give it a link for everybody, always the same", {200: answer("It.", "Shared")}, 400, 404),
        "delete": operation("End its link", {200: answer("There is none now.", "Deleted")}, 404),
    },
    "/s/{slug}": {
        "parameters": [{**ASSET_ID, "name": "slug"}],
        "get": operation(
            "A shared picture as WebP: the first frame, upright, and nothing but pixels; needs no token",
            {200: {"description": "It.", "content": {"image/webp": {}}}, 304: answer("The client has it.")},
            404,
        ),
    },
    "/api/assets/{id}/tags": {
        "parameters": [ASSET_ID],
        "post": operation(
            "Add tags, in lower case", {200: answer("Those that it has now.", "AddedTags")}, 404, body="AddTagsRequest"
        ),
    },
    "/api/assets/{id}/embedding-status": {
        "parameters": [ASSET_ID],
        "get": operation("How far its embedding is", {200: answer("So far.", "Status")}, 404),
    },
    "/api/assets/{id}/generate-embedding": {
        "parameters": [ASSET_ID],
        "post": operation(
            "Have it made now",
            {
                200: answer("It is there.", "Generated"),
                202: answer("It waits for its turn.", "Generated"),
                422: answer(SAYINGS[422], "Generated"),
            },
            404,
        ),
    },
    "/api/assets/batch/embedding-status": {
        "post": operation("How far embeddings are", {200: answer("By asset.", "Statuses")}, body="StatusesRequest"),
    },
    "/api/tags": {"get": operation("All tags", {200: answer("By name.", "Tags")})},
    "/api/search": {"post": operation("Search", {200: answer("Best first.", "Matches")}, body="SearchRequest")},
    "/api/sse/embedding-updates": {
        "get": operation(
            "News of embeddings as server-sent events, without an end",
            {200: {"description": "As they come.", "content": {"text/event-stream": {}}}},
            400,
            parameters=[query("assetIds", TEXT, "Separated by commas; of all where none is named.")],
        ),
    },
}
