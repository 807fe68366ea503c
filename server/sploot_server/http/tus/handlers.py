"""Handlers of the tus 1.0.0 protocol (https://tus.io/protocols/resumable-upload).

Supported: core, creation, creation-with-upload, checksum, expiration and termination. Extensions of this server:
`Upload-Metadata` may contain `tags`, a JSON array, and `checksum`, the SHA-256 of the whole file in hex, which is
verified. The response that completes an upload has the asset in `Sploot-Asset-Id` and, in `Sploot-Duplicate`, whether
the library already had it; a client that accepts JSON receives 200 with the body of POST /api/upload instead of 204.
A client that missed this response repeats it with an empty PATCH at the final offset, or with HEAD, until the upload
expires.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from sploot_server.config import Config
from sploot_server.domain.entities import AddResult, BodyTimeout, InvalidInput, LibraryError, NotFound, TooLarge
from sploot_server.domain.sniff import SNIFF_BYTES
from sploot_server.http import serializers
from sploot_server.http.errors import error_response, on_library_error
from sploot_server.http.multipart import parse_tags
from sploot_server.http.request_body import discard_body, stream_body
from sploot_server.http.routes.params import get_owner, original_url
from sploot_server.http.tus.headers import (
    CHECKSUM_ALGORITHMS,
    CONTENT_TYPE,
    PATH,
    VERSION,
    ExpectedChecksum,
    outcome_headers,
    parse_byte_count,
    parse_file_checksum,
    parse_metadata,
    parse_upload_checksum,
    progress_headers,
)
from sploot_server.http.tus.upload_lock import UploadLock, UploadLocked
from sploot_server.http.tus.upload_store import Upload, UploadNotFound, UploadOutcome, UploadStore
from sploot_server.library.service import Library, clean_tags

EXTENSIONS = "creation,creation-with-upload,checksum,expiration,termination"
COMMIT_BYTES = 8 * 1024 * 1024  # a request without a checksum commits its bytes in steps of this size
CHECKSUM_MISMATCH = 460  # status code defined by tus


class TusError(LibraryError):
    """Error with a status defined by the tus protocol."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers or {}


STATUS_BY_ERROR: Mapping[type[LibraryError], tuple[int, Mapping[str, str]]] = {
    UploadNotFound: (HTTPStatus.NOT_FOUND, {}),
    UploadLocked: (HTTPStatus.LOCKED, {"retry-after": "1"}),
}


class TusRoutes:
    """Routes of resumable uploads."""

    def __init__(self, config: Config, library: Library, store: UploadStore) -> None:
        self._config = config
        self._library = library
        self._store = store
        self._creations: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    def routes(self) -> list[BaseRoute]:
        return [
            Route(PATH, self.creation, methods=["POST", "OPTIONS"]),
            Route(PATH + "/{upload}", self.upload, methods=["POST", "HEAD", "PATCH", "DELETE", "OPTIONS"]),
        ]

    async def creation(self, request: Request) -> Response:
        return await self._dispatch(request, {"POST": self._create})

    async def upload(self, request: Request) -> Response:
        return await self._dispatch(request, {"HEAD": self._head, "PATCH": self._patch, "DELETE": self._delete})

    async def _dispatch(
        self, request: Request, handlers: Mapping[str, Callable[[Request], Awaitable[Response]]]
    ) -> Response:
        """Call the handler of the method, and add the headers that tus requires on every response."""
        method = request.method
        # The override is honoured on POST only: authentication has checked the scope of the real method, so a GET that
        # claims to be a DELETE would need no write scope.
        if method == "POST":
            method = request.headers.get("x-http-method-override", method).upper()
        try:
            if method == "OPTIONS":
                return self._options()
            if request.headers.get("tus-resumable") != VERSION:
                known = {"tus-version": VERSION}
                raise TusError(HTTPStatus.PRECONDITION_FAILED, f"The server supports tus {VERSION} only", known)
            if method not in handlers:
                allowed = {"allow": ", ".join(handlers)}
                raise TusError(HTTPStatus.METHOD_NOT_ALLOWED, f"{method} is not allowed here", allowed)
            response = await handlers[method](request)
        except LibraryError as error:
            response = await _to_error_response(request, error)
        response.headers["tus-resumable"] = VERSION
        return response

    def _options(self) -> Response:
        headers = {
            "tus-resumable": VERSION,
            "tus-version": VERSION,
            "tus-extension": EXTENSIONS,
            "tus-max-size": str(self._config.upload_bytes_max),
            "tus-checksum-algorithm": ",".join(CHECKSUM_ALGORITHMS),
        }
        return Response(status_code=HTTPStatus.NO_CONTENT, headers=headers)

    async def _create(self, request: Request) -> Response:
        if "upload-defer-length" in request.headers:
            raise InvalidInput("Upload-Defer-Length is not supported; send Upload-Length")
        length = parse_byte_count(request, "upload-length")
        if length == 0:
            raise InvalidInput("File appears to be empty")
        self._library.check_size(length)
        await self._library.check_disk_space(length)
        metadata = request.headers.get("upload-metadata", "")
        values = parse_metadata(metadata)
        owner = get_owner(request)
        async with self._creations[owner]:  # concurrent ones would not count each other
            unfinished_bytes = await self._store.count_unfinished_bytes(owner)
            async with self._library.for_owner(owner).reserve_quota(length, unfinished_bytes=unfinished_bytes):
                upload = await self._store.create(
                    owner,
                    length=length,
                    metadata=metadata,
                    filename=values.get("filename", b"").decode("utf-8", "replace"),
                    tags=clean_tags(parse_tags(values.get("tags")) or []),
                    checksum=parse_file_checksum(values.get("checksum")),
                )
        response = (
            await self._append_first_chunk(request, upload)
            if _has_body(request)
            else Response(headers=progress_headers(upload))
        )
        response.status_code = HTTPStatus.CREATED
        # Relative: behind a proxy, the server does not know the host and scheme that the client uses.
        response.headers["location"] = f"{PATH}/{upload.id}"
        return response

    async def _append_first_chunk(self, request: Request, upload: Upload) -> Response:
        """Append the body of the creation request; remove the upload if that fails.

        The client learns the URL from the response only, so after a failure it could not resume the upload.
        """
        try:
            return await self._append(request, upload, 0)
        except (LibraryError, ClientDisconnect):
            await self._store.remove(upload)
            raise

    async def _head(self, request: Request) -> Response:
        upload = await self._find(request)
        headers = {
            **progress_headers(upload),
            **outcome_headers(upload.outcome),
            "upload-length": str(upload.length),
            "cache-control": "no-store",
        }
        if upload.metadata:
            headers["upload-metadata"] = upload.metadata
        return Response(headers=headers)

    async def _patch(self, request: Request) -> Response:
        if request.headers.get("content-type") != CONTENT_TYPE:
            raise TusError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"The Content-Type must be {CONTENT_TYPE}")
        return await self._append(request, await self._find(request), parse_byte_count(request, "upload-offset"))

    async def _delete(self, request: Request) -> Response:
        upload = await self._find(request)
        async with self._store.lock(upload.id):
            await self._store.remove(upload)
        return Response(status_code=HTTPStatus.NO_CONTENT)

    async def _find(self, request: Request) -> Upload:
        return await self._store.find(request.path_params["upload"], get_owner(request))

    async def _append(self, request: Request, upload: Upload, offset: int) -> Response:
        """Append the body; if the upload is then complete, add it to the library."""
        checksum = parse_upload_checksum(request)
        async with self._store.lock(upload.id) as lock:
            # Read again under the lock: a request that lost its connection may have committed bytes in between.
            upload = await self._store.find(upload.id, upload.owner)
            if offset != upload.offset:  # tus: the offsets must be equal, else 409 and the resource stays unchanged
                current = {"upload-offset": str(upload.offset)}
                raise TusError(HTTPStatus.CONFLICT, f"The offset is {upload.offset}, not {offset}", current)
            if int(request.headers.get("content-length", "0")) > upload.length - offset:
                raise _too_long_error(upload)
            if not upload.is_complete:
                upload = await self._receive(request, lock, upload, checksum)
            if not upload.is_complete:
                return Response(status_code=HTTPStatus.NO_CONTENT, headers=progress_headers(upload))
            return await self._complete(request, upload)

    async def _receive(
        self, request: Request, lock: UploadLock, upload: Upload, checksum: ExpectedChecksum | None
    ) -> Upload:
        """Receive the body and return the updated upload.

        Without a checksum, the bytes of a broken connection are committed, so that the client can resume after them.
        With one, the whole body is committed or nothing: tus requires a chunk that does not match to be discarded.
        """
        await self._library.check_disk_space(upload.length - upload.offset)
        with self._store.open_writer(upload, None if checksum is None else checksum.algorithm) as writer:
            try:
                async with lock.receiving():
                    async for chunk in stream_body(request):
                        lock.record_activity()
                        if writer.size_bytes + len(chunk) > upload.length:
                            raise _too_long_error(upload)
                        writer.write(chunk)
                        await writer.flush_if_full()
                        if checksum is None and writer.size_bytes - writer.offset >= COMMIT_BYTES:
                            await writer.commit()
            except (ClientDisconnect, BodyTimeout, TimeoutError) as error:
                if checksum is None:
                    await writer.commit()
                if isinstance(error, TimeoutError):
                    raise BodyTimeout("The client stopped sending and another request took over") from error
                raise
            await writer.flush()
            if checksum is not None and writer.digest != checksum.digest:
                raise TusError(CHECKSUM_MISMATCH, "The bytes do not match Upload-Checksum; send them again")
            await self._check_type(upload, writer.size_bytes)
            await writer.commit()
        return await self._store.find(upload.id, upload.owner)

    async def _check_type(self, upload: Upload, size_bytes: int) -> None:
        """Check the file type once enough bytes were received, before the client sends the rest of a large file."""
        if upload.offset < min(SNIFF_BYTES, upload.length) <= size_bytes:
            try:
                self._library.detect_type(await self._store.read_head(upload, SNIFF_BYTES))
            except InvalidInput:
                await self._store.remove(upload)
                raise

    async def _complete(self, request: Request, upload: Upload) -> Response:
        """Add a complete upload to the library, unless an earlier request did, and return the outcome.

        The request is idempotent: a client whose connection broke before the response repeats it.
        """
        library = self._library.for_owner(upload.owner)
        if upload.outcome is not None:
            try:
                added = AddResult(await library.get(upload.outcome.asset_id), upload.outcome.created)
            except NotFound as error:
                raise TusError(HTTPStatus.GONE, "The asset of this upload was removed") from error
        else:
            added = await self._add_to_library(library, upload)
        headers = {**progress_headers(upload), **outcome_headers(UploadOutcome(added.asset.id, added.created))}
        if "application/json" not in request.headers.get("accept", ""):
            return Response(status_code=HTTPStatus.NO_CONTENT, headers=headers)
        asset = serializers.uploaded_asset_to_json(added.asset, original_url(request, added.asset))
        return JSONResponse({"success": True, "isDuplicate": not added.created, "asset": asset}, headers=headers)

    async def _add_to_library(self, library: Library, upload: Upload) -> AddResult:
        """Add the file like any other upload; remove the upload if the library rejects it permanently."""
        try:
            async with library.open_upload() as sink:
                await sink.link_from(self._store.data_path(upload))
                _verify_checksum(upload, sink.checksum)
                added = await library.add(sink, filename=upload.filename, tags=upload.tags)
        except (TusError, InvalidInput, TooLarge):
            await self._store.remove(upload)
            raise
        await self._store.finish(upload, UploadOutcome(added.asset.id, added.created))
        return added


def _has_body(request: Request) -> bool:
    return request.headers.get("content-type") == CONTENT_TYPE


def _too_long_error(upload: Upload) -> TooLarge:
    return TooLarge(f"The body exceeds the Upload-Length of {upload.length} bytes")


def _verify_checksum(upload: Upload, checksum: str) -> None:
    if upload.checksum not in (None, checksum):
        raise TusError(CHECKSUM_MISMATCH, "The file does not match its checksum; start a new upload")


async def _to_error_response(request: Request, error: LibraryError) -> Response:
    if isinstance(error, TusError):
        status, headers = error.status, error.headers
    elif type(error) in STATUS_BY_ERROR:
        status, headers = STATUS_BY_ERROR[type(error)]
    else:
        return await on_library_error(request, error)
    body_discarded = await discard_body(request)
    return error_response(str(error), status, headers if body_discarded else {**headers, "connection": "close"})
