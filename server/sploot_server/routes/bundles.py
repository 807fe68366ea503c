"""Many files in one request: asked about by their hashes, and sent. Additions to Sploot's API."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from sploot_server import wire
from sploot_server.bodies import pieces, read_json
from sploot_server.library import Library
from sploot_server.model import Added, Invalid, TooLarge
from sploot_server.multipart import BundleForm, Sink, parse_tags
from sploot_server.refusals import told
from sploot_server.routes.values import checksum_of, object_of, owner_of, url_of

CHECKS_MAX = 500
BUNDLE_FILES_MAX = 64
BUNDLE_BYTES_MAX = 2 * 1024 * 1024  # all of the form: it is held in memory until its end

FEATURES = {"checkBatch": CHECKS_MAX, "bundle": {"files": BUNDLE_FILES_MAX, "bytes": BUNDLE_BYTES_MAX}}


@dataclass(frozen=True, slots=True)
class Sent:
    """One file of a bundle, and the bytes of the `tags` field before it."""

    filename: str
    tags: bytes | None
    data: bytearray = field(default_factory=bytearray)


class Bundles:
    def __init__(self, library: Library) -> None:
        self._library = library

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/api/upload/check/batch", self.check, methods=["POST"]),
            Route("/api/upload/bundle", self.upload, methods=["POST"]),
        ]

    async def check(self, request: Request) -> Response:
        body = object_of(await read_json(request, malformed="The request body is not valid JSON"))
        asked = body.get("checksums")
        if not isinstance(asked, list):
            raise Invalid("checksums must be an array of strings")
        if len(asked) > CHECKS_MAX:
            raise Invalid(f"At most {CHECKS_MAX} checksums can be asked about at once")
        checksums = [checksum_of(each) for each in asked]
        found = await self._library.of(owner_of(request)).find_all(checksums)
        results = {
            each: {"exists": True, "asset": wire.checked(found[each], url_of(request, found[each]))}
            if each in found
            else {"exists": False}
            for each in checksums
        }
        return JSONResponse({"results": results})

    async def upload(self, request: Request) -> Response:
        """Each file has an outcome of its own, in the order of the files; all are durable when they are answered.

        They are kept side by side: the journal of the file system and the COMMIT of the database carry many at once.
        Nothing is kept of a bundle that does not come to its end.
        """
        library = self._library.of(owner_of(request))
        files = await _received(request)
        outcomes = await asyncio.gather(*(_outcome(request, library, each) for each in files))
        return JSONResponse({"success": True, "results": outcomes})


def upload_outcome(request: Request, added: Added, tags: list[str] | None) -> dict[str, Any]:
    """What is said of a file that the library has now; `tags` are None if they were not understood."""
    outcome = {
        "success": True,
        "isDuplicate": not added.created,
        "asset": wire.uploaded(added.asset, url_of(request, added.asset)),
        "message": "Upload successful" if added.created else "This image already exists in your library",
    }
    if tags is None:
        outcome["warning"] = "The tags were ignored: they are not a JSON array of strings"
    return outcome


async def _received(request: Request) -> list[Sent]:
    """The files of a bundle. Raises Invalid or TooLarge if it is none, or more than one request may hold."""
    files: list[Sent] = []

    def next_file(filename: str, tags: bytes | None) -> Sink:
        if len(files) == BUNDLE_FILES_MAX:
            raise TooLarge(f"At most {BUNDLE_FILES_MAX} files fit into one bundle")
        files.append(Sent(filename, tags))
        return files[-1].data.extend

    _refuse_oversize(int(request.headers.get("content-length", "0")))
    form = BundleForm(request.headers.get("content-type", ""), next_file)
    received = 0
    async for piece in pieces(request):
        received += len(piece)
        _refuse_oversize(received)
        form.feed(piece)
    form.end()
    if not files:
        raise Invalid("No file provided")
    return files


def _refuse_oversize(size_bytes: int) -> None:
    if size_bytes > BUNDLE_BYTES_MAX:
        raise TooLarge(f"The bundle is too large. Maximum size is {BUNDLE_BYTES_MAX // 1024 // 1024}MB")


async def _outcome(request: Request, library: Library, sent: Sent) -> dict[str, Any]:
    tags = parse_tags(sent.tags)
    try:
        async with library.incoming() as incoming:
            incoming.write(bytes(sent.data))
            added = await library.add(incoming, filename=sent.filename, tags=tags or [])
    except Exception as error:  # noqa: BLE001 - whatever befell this file, the others have their own outcomes
        sentence, status = told(error, request.scope)
        return {"status": status, "success": False, "error": sentence}
    return {"status": 201 if added.created else 409, **upload_outcome(request, added, tags)}
