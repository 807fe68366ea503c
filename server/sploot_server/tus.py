"""Uploads that go on where they were broken off: the protocol tus 1.0.0 (https://tus.io/protocols/resumable-upload).

Core, creation, creation-with-upload, checksum, expiration and termination. Beyond it: `Upload-Metadata` may hold
`tags`, a JSON array, and `checksum`, the SHA-256 of the whole in hex, which is held against what came in. The answer
that completes an upload names the asset in `Sploot-Asset-Id` and says in `Sploot-Duplicate` whether the library had it;
to a client that accepts JSON it is 200 with the body of POST /api/upload instead of 204. Whoever has not heard it asks
again: an empty PATCH at the end, or a HEAD, until the upload expires.
"""

from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from sploot_server import wire
from sploot_server.bodies import discard, pieces
from sploot_server.config import Config
from sploot_server.library import Library, clean_tags
from sploot_server.model import Added, Invalid, LibraryError, NotFound, TooLarge, TooSlow
from sploot_server.multipart import parse_tags
from sploot_server.partial import Outcome, Partials, Unknown, Upload
from sploot_server.refusals import on_library_error, refusal
from sploot_server.routes.values import owner_of, url_of
from sploot_server.sniff import SNIFF_BYTES
from sploot_server.turns import Held, Turn
from sploot_server.tus_headers import (
    ALGORITHMS,
    BODY_TYPE,
    PATH,
    VERSION,
    Announced,
    announced,
    number,
    outcome,
    parse_metadata,
    progress,
    whole_checksum,
)

EXTENSIONS = "creation,creation-with-upload,checksum,expiration,termination"
COMMIT_BYTES = 8 * 1024 * 1024  # so often bytes without a checksum are made durable while they come in
CHECKSUM_MISMATCH = 460  # tus's own


class Refusal(LibraryError):
    """An answer that the protocol has a status of its own for."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers or {}


STATUS: Mapping[type[LibraryError], tuple[int, Mapping[str, str]]] = {
    Unknown: (HTTPStatus.NOT_FOUND, {}),
    Held: (HTTPStatus.LOCKED, {"retry-after": "1"}),
}


class Tus:
    def __init__(self, config: Config, library: Library, partials: Partials) -> None:
        self._config = config
        self._library = library
        self._partials = partials

    def routes(self) -> list[BaseRoute]:
        return [
            Route(PATH, self.creation, methods=["POST", "OPTIONS"]),
            Route(PATH + "/{upload}", self.upload, methods=["POST", "HEAD", "PATCH", "DELETE", "OPTIONS"]),
        ]

    async def creation(self, request: Request) -> Response:
        return await self._spoken(request, {"POST": self._create})

    async def upload(self, request: Request) -> Response:
        return await self._spoken(request, {"HEAD": self._head, "PATCH": self._patch, "DELETE": self._delete})

    async def _spoken(
        self, request: Request, answers: Mapping[str, Callable[[Request], Awaitable[Response]]]
    ) -> Response:
        """What the protocol asks of every answer, refusals included."""
        method = request.method
        if method == "POST":  # who may send one may do all of this; who may only look may not, whatever he calls it
            method = request.headers.get("x-http-method-override", method).upper()
        try:
            if method == "OPTIONS":
                return self._options()
            if request.headers.get("tus-resumable") != VERSION:
                known = {"tus-version": VERSION}
                raise Refusal(HTTPStatus.PRECONDITION_FAILED, f"Only tus {VERSION} is spoken here", known)
            if method not in answers:
                allowed = {"allow": ", ".join(answers)}
                raise Refusal(HTTPStatus.METHOD_NOT_ALLOWED, f"{method} is not for this", allowed)
            answer = await answers[method](request)
        except LibraryError as error:
            answer = await _refused(request, error)
        answer.headers["tus-resumable"] = VERSION
        return answer

    def _options(self) -> Response:
        headers = {
            "tus-resumable": VERSION,
            "tus-version": VERSION,
            "tus-extension": EXTENSIONS,
            "tus-max-size": str(self._config.upload_bytes_max),
            "tus-checksum-algorithm": ",".join(ALGORITHMS),
        }
        return Response(status_code=HTTPStatus.NO_CONTENT, headers=headers)

    async def _create(self, request: Request) -> Response:
        if "upload-defer-length" in request.headers:
            raise Invalid("Upload-Length must be said at the beginning")
        length = number(request, "upload-length")
        if length == 0:
            raise Invalid("File appears to be empty")
        self._library.refuse_oversize(length)
        metadata = request.headers.get("upload-metadata", "")
        values = parse_metadata(metadata)
        upload = await self._partials.begin(
            owner_of(request),
            length=length,
            metadata=metadata,
            filename=values.get("filename", b"").decode("utf-8", "replace"),
            tags=clean_tags(parse_tags(values.get("tags")) or []),
            checksum=whole_checksum(values.get("checksum")),
        )
        answer = await self._first_part(request, upload) if _has_body(request) else Response(headers=progress(upload))
        answer.status_code = HTTPStatus.CREATED
        answer.headers["location"] = f"{PATH}/{upload.id}"  # as a path: whatever stands before us knows its own name
        return answer

    async def _first_part(self, request: Request, upload: Upload) -> Response:
        """Whoever does not hear of its address cannot go on with an upload: it is none then."""
        try:
            return await self._added_to(request, upload, 0)
        except (LibraryError, ClientDisconnect):
            await self._partials.remove(upload)
            raise

    async def _head(self, request: Request) -> Response:
        upload = await self._find(request)
        headers = {
            **progress(upload),
            **outcome(upload.outcome),
            "upload-length": str(upload.length),
            "cache-control": "no-store",
        }
        if upload.metadata:
            headers["upload-metadata"] = upload.metadata
        return Response(headers=headers)

    async def _patch(self, request: Request) -> Response:
        if request.headers.get("content-type") != BODY_TYPE:
            raise Refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"The Content-Type must be {BODY_TYPE}")
        return await self._added_to(request, await self._find(request), number(request, "upload-offset"))

    async def _delete(self, request: Request) -> Response:
        upload = await self._find(request)
        async with self._partials.turn(upload.id):
            await self._partials.remove(upload)
        return Response(status_code=HTTPStatus.NO_CONTENT)

    async def _find(self, request: Request) -> Upload:
        return await self._partials.find(request.path_params["upload"], owner_of(request))

    async def _added_to(self, request: Request, upload: Upload, offset: int) -> Response:
        """Take in the body; if that was the last of it, hand the upload to the library."""
        checksum = announced(request)
        async with self._partials.turn(upload.id) as turn:
            upload = await self._partials.find(upload.id, upload.owner)  # as it is, now that nobody else changes it
            if offset != upload.offset:
                where = {"upload-offset": str(upload.offset)}
                raise Refusal(HTTPStatus.CONFLICT, f"The upload is at {upload.offset}, not at {offset}", where)
            if int(request.headers.get("content-length", "0")) > upload.length - offset:
                raise _too_long(upload)
            if not upload.complete:
                upload = await self._receive(request, turn, upload, checksum)
            if not upload.complete:
                return Response(status_code=HTTPStatus.NO_CONTENT, headers=progress(upload))
            return await self._completed(request, upload)

    async def _receive(self, request: Request, turn: Turn, upload: Upload, checksum: Announced | None) -> Upload:
        """The upload with what came in. With a checksum, all of that counts or nothing."""
        with self._partials.tail(upload, None if checksum is None else checksum.algorithm) as tail:
            try:
                async with turn.receiving():
                    async for piece in pieces(request):
                        turn.heard()
                        if tail.size_bytes + len(piece) > upload.length:
                            raise _too_long(upload)
                        tail.write(piece)
                        await tail.settle()
                        if checksum is None and tail.size_bytes - tail.offset >= COMMIT_BYTES:
                            await tail.commit()
            except (ClientDisconnect, TooSlow, TimeoutError) as error:
                if checksum is None:
                    await tail.commit()
                if isinstance(error, TimeoutError):
                    raise TooSlow("Nothing came in for a while, and another request asked") from error
                raise
            await tail.flush()
            if checksum is not None and tail.digest != checksum.digest:
                raise Refusal(
                    CHECKSUM_MISMATCH, "The bytes do not have the checksum that was announced. Send them again"
                )
            await self._refuse_foreign(upload, tail.size_bytes)
            await tail.commit()
        return await self._partials.find(upload.id, upload.owner)

    async def _refuse_foreign(self, upload: Upload, size_bytes: int) -> None:
        """As soon as `size_bytes` tell what kind of file it is: nobody sends a gigabyte only to hear that."""
        if upload.offset < min(SNIFF_BYTES, upload.length) <= size_bytes:
            try:
                self._library.accepted_type(await self._partials.head(upload, SNIFF_BYTES))
            except Invalid:
                await self._partials.remove(upload)
                raise

    async def _completed(self, request: Request, upload: Upload) -> Response:
        """Give a complete upload to the library, unless that was done before; and say what came of it."""
        library = self._library.of(upload.owner)
        if upload.outcome is not None:
            try:
                added = Added(await library.get(upload.outcome.asset_id), upload.outcome.created)
            except NotFound as error:
                raise Refusal(HTTPStatus.GONE, "This upload was completed, and its asset removed since") from error
        else:
            added = await self._handed_over(library, upload)
        headers = {**progress(upload), **outcome(Outcome(added.asset.id, added.created))}
        if "application/json" not in request.headers.get("accept", ""):
            return Response(status_code=HTTPStatus.NO_CONTENT, headers=headers)
        asset = wire.uploaded(added.asset, url_of(request, added.asset))
        return JSONResponse({"success": True, "isDuplicate": not added.created, "asset": asset}, headers=headers)

    async def _handed_over(self, library: Library, upload: Upload) -> Added:
        """As any other upload. What the library refuses for good is thrown away."""
        try:
            async with library.incoming() as incoming:
                await incoming.adopt(self._partials.path(upload))
                _compare(upload, incoming.checksum)
                added = await library.add(incoming, filename=upload.filename, tags=upload.tags)
        except (Refusal, Invalid, TooLarge):
            await self._partials.remove(upload)
            raise
        await self._partials.end(upload, Outcome(added.asset.id, added.created))
        return added


def _has_body(request: Request) -> bool:
    return request.headers.get("content-type") == BODY_TYPE


def _too_long(upload: Upload) -> TooLarge:
    return TooLarge(f"This is more than the {upload.length} bytes that were announced")


def _compare(upload: Upload, checksum: str) -> None:
    if upload.checksum not in (None, checksum):
        raise Refusal(CHECKSUM_MISMATCH, "The file does not have the checksum that was announced. Begin anew")


async def _refused(request: Request, error: LibraryError) -> Response:
    if isinstance(error, Refusal):
        status, headers = error.status, error.headers
    elif type(error) in STATUS:
        status, headers = STATUS[type(error)]
    else:
        return await on_library_error(request, error)
    clean = await discard(request)
    return refusal(str(error), status, headers if clean else {**headers, "connection": "close"})
