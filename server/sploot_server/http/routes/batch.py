"""Routes that check or upload many files in one request. They extend Sploot's API."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from sploot_server.domain.entities import AddResult, InvalidInput, TooLarge
from sploot_server.http import serializers
from sploot_server.http.errors import describe_error
from sploot_server.http.multipart import BundleForm, Sink, parse_tags
from sploot_server.http.request_body import read_object, stream_body
from sploot_server.http.routes.params import get_owner, original_url, parse_checksum
from sploot_server.library.service import Library

CHECKS_MAX = 500
BUNDLE_FILES_MAX = 64
BUNDLE_BYTES_MAX = 2 * 1024 * 1024  # of the whole form, which is held in memory

FEATURES = {"checkBatch": CHECKS_MAX, "bundle": {"files": BUNDLE_FILES_MAX, "bytes": BUNDLE_BYTES_MAX}}


@dataclass(frozen=True, slots=True)
class ReceivedFile:
    """File of a bundle, with the bytes of the `tags` field before it."""

    filename: str
    tags: bytes | None
    data: bytearray = field(default_factory=bytearray)


class BatchRoutes:
    """Routes of batch checks and bundles."""

    def __init__(self, library: Library) -> None:
        self._library = library

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/api/upload/check/batch", self.check, methods=["POST"]),
            Route("/api/upload/bundle", self.upload, methods=["POST"]),
        ]

    async def check(self, request: Request) -> Response:
        body = await read_object(request)
        requested = body.get("checksums")
        if not isinstance(requested, list):
            raise InvalidInput("checksums must be an array of strings")
        if len(requested) > CHECKS_MAX:
            raise InvalidInput(f"A request may contain at most {CHECKS_MAX} checksums")
        checksums = [parse_checksum(each) for each in requested]
        found = await self._library.for_owner(get_owner(request)).find_by_checksums(checksums)
        results = {
            each: {
                "exists": True,
                "asset": serializers.checked_asset_to_json(found[each], original_url(request, found[each])),
            }
            if each in found
            else {"exists": False}
            for each in checksums
        }
        return JSONResponse({"results": results})

    async def upload(self, request: Request) -> Response:
        """Store all files of a bundle and return one result per file, in their order.

        The files are stored concurrently, so that they share fsyncs and database commits, and are durable before the
        response. Nothing is stored of a truncated bundle.
        """
        library = self._library.for_owner(get_owner(request))
        await library.check_disk_space(BUNDLE_BYTES_MAX)
        files = await _read_bundle(request)
        results = await asyncio.gather(*(_store_file(request, library, each) for each in files))
        return JSONResponse({"success": True, "results": results})


def upload_result_to_json(request: Request, added: AddResult, tags: list[str] | None) -> dict[str, Any]:
    """Return the result of a stored file; `tags` is None if the tags were malformed."""
    result = {
        "success": True,
        "isDuplicate": not added.created,
        "asset": serializers.uploaded_asset_to_json(added.asset, original_url(request, added.asset)),
        "message": "Upload successful" if added.created else "This image already exists in your library",
    }
    if tags is None:
        result["warning"] = "The tags were ignored: they are not a JSON array of strings"
    return result


async def _read_bundle(request: Request) -> list[ReceivedFile]:
    """Read the files of a bundle. Raise InvalidInput for a malformed form, TooLarge beyond its limits."""
    files: list[ReceivedFile] = []

    def open_file_sink(filename: str, tags: bytes | None) -> Sink:
        if len(files) == BUNDLE_FILES_MAX:
            raise TooLarge(f"A bundle may contain at most {BUNDLE_FILES_MAX} files")
        files.append(ReceivedFile(filename, tags))
        return files[-1].data.extend

    _check_size(int(request.headers.get("content-length", "0")))
    form = BundleForm(request.headers.get("content-type", ""), open_file_sink)
    received = 0
    async for chunk in stream_body(request):
        received += len(chunk)
        _check_size(received)
        form.feed(chunk)
    form.end()
    if not files:
        raise InvalidInput("No file provided")
    return files


def _check_size(size_bytes: int) -> None:
    if size_bytes > BUNDLE_BYTES_MAX:
        raise TooLarge(f"The bundle is too large. Maximum size is {BUNDLE_BYTES_MAX // 1024 // 1024}MB")


async def _store_file(request: Request, library: Library, file: ReceivedFile) -> dict[str, Any]:
    tags = parse_tags(file.tags)
    try:
        async with library.open_upload() as sink:
            sink.write(bytes(file.data))
            added = await library.add(sink, filename=file.filename, tags=tags or [])
    except Exception as error:  # noqa: BLE001 - a failure of one file must not affect the results of the others
        message, status = describe_error(error, request.scope)
        return {"status": status, "success": False, "error": message}
    return {"status": 201 if added.created else 409, **upload_result_to_json(request, added, tags)}
