"""Upload large files in chunks: tus 1.0.0 (https://tus.io/protocols/resumable-upload).

Each chunk carries its offset and its SHA-256, so bytes that the server has acknowledged are correct and are never sent
again. The URL of the upload is stored in the ledger: after an interruption on either side the upload resumes.
"""

import asyncio
import contextlib
import json
import re
from base64 import b64encode
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from http import HTTPStatus
from urllib.parse import urljoin, urlsplit

from splootd.clock import Clock
from splootd.core.limits import Limits
from splootd.errors import ConnectionLost, FileError, InvalidResponse, Rejected, ServerError, StoreFull
from splootd.file_reader import SEND_BYTES, Content
from splootd.metrics import MetricsCollector, Transfer
from splootd.remote.client import SplootClient
from splootd.remote.responses import StoredAsset, parse_stored_asset
from splootd.remote.status_mapping import HttpResponse, error_for, error_for_upload
from splootd.store.ledger import Ledger
from splootd.text import display_name
from splootd.upload.admission import AdmissionController
from splootd.upload.transports.transport import UploadResult, start_transfer
from splootd.upload.upload_job import UploadJob

TUS_BYTES_MIN = 8 << 20  # below this, sending the whole file again is faster than the round trips of its chunks
CHUNK_BYTES_MIN, CHUNK_BYTES_MAX = SEND_BYTES, 8 << 20
CHUNK_BYTES_FIRST = 1 << 20
CHUNK_TARGET_S = 2.0  # the duration of a chunk, and so the work that a lost connection costs
CREATE_ATTEMPTS_MAX = 2
CHUNK_RETRIES_MAX = 5  # consecutive, without an acknowledged chunk in between
LOCKED_RETRY_S = 1.0  # before the next request to an upload that is locked
CHECKSUM_MISMATCH = 460  # a status code of tus's checksum extension
URL_CHARS_MAX = 2_000
TUS_HEADERS = {"tus-resumable": "1.0.0"}

_PATH = re.compile(r"/(?!/)[!-~]*")


class _UploadNotFound(Exception):
    """The server no longer has this upload."""


class _ChunkRejected(InvalidResponse):
    """The server did not accept a chunk. The offset must be fetched before the next one."""


def get_tus_path(limits: Limits) -> str | None:
    """Return the path of the server's tus endpoint, or None if it has none."""
    feature = limits.features.get("resumable")
    path = feature.get("path") if isinstance(feature, dict) else None
    return path if isinstance(path, str) and _is_path(path) else None


class TusTransport:
    """Sends one content in chunks. The caller holds an upload slot."""

    def __init__(
        self,
        client: SplootClient,
        ledger: Ledger,
        admission: AdmissionController,
        metrics: MetricsCollector,
        clock: Clock,
    ) -> None:
        self._client = client
        self._admission = admission
        self._metrics = metrics
        self._tus_client = TusClient(client, ledger, clock)

    async def send(self, jobs: Sequence[UploadJob]) -> Sequence[UploadResult]:
        (job,) = jobs
        limits = self._client.last_limits
        path = get_tus_path(limits) if limits else None
        if path is None:
            raise InvalidResponse("the server no longer accepts uploads in chunks")
        with start_transfer(self._metrics, job) as transfer:
            stored = await self._tus_client.upload(
                job.content,
                path,
                tags=job.tags,
                transfer=transfer,
                check_admission=lambda: self._admission.check(job.permit),
            )
            sent_bytes = transfer.sent_bytes
        return [UploadResult(stored.asset_id, stored.is_duplicate, sent_bytes=sent_bytes)]


class TusClient:
    """Uploads contents in chunks, and resumes interrupted uploads."""

    def __init__(self, client: SplootClient, ledger: Ledger, clock: Clock) -> None:
        self._client = client
        self._ledger = ledger
        self._clock = clock

    async def upload(
        self,
        content: Content,
        path: str,
        *,
        tags: Sequence[str],
        transfer: Transfer,
        check_admission: Callable[[], None],
    ) -> StoredAsset:
        """Upload a content, starting at the offset that the server has reached. `transfer` records the progress.

        `check_admission` is called before each chunk and raises while uploads are held back. Raises FileChanged if the
        file changed.
        """
        response = await self.send(content, path, tags=tags, transfer=transfer, check_admission=check_admission)
        if response.body:
            return parse_stored_asset(response.json(), sha256=content.sha256)
        if found := await self._client.check(content.sha256):
            return StoredAsset(found.asset_id, is_duplicate=False)
        raise InvalidResponse(f"the server received all of {display_name(content.path)} but did not store it")

    async def send(
        self,
        content: Content,
        path: str,
        *,
        tags: Sequence[str],
        transfer: Transfer,
        check_admission: Callable[[], None],
    ) -> HttpResponse:
        """As `upload`, but return the response that completes the upload."""
        for _ in range(CREATE_ATTEMPTS_MAX):
            upload_url = await self._ledger.get_upload_path(content.sha256)
            is_new = upload_url is None
            upload_url = upload_url or await self._create_upload(content, path, tags)
            try:
                offset = 0 if is_new else await self._fetch_offset(content, upload_url)
                transfer.resume_from(offset)
                response = await self._send_chunks(
                    content, upload_url, offset, transfer.record_progress, check_admission
                )
            except _UploadNotFound:
                await self._forget(content)
            except FileError:
                await self._forget(content)
                with contextlib.suppress(ServerError):
                    await self._client.send_tus_request("DELETE", upload_url, TUS_HEADERS)
                raise
            except Rejected:
                await self._forget(content)
                raise
            else:
                await self._forget(content)
                return response
        raise InvalidResponse("the server lost an upload that had just been created")

    async def _create_upload(self, content: Content, path: str, tags: Sequence[str]) -> str:
        """Create an upload on the server, store its URL in the ledger and return it."""
        metadata = {
            "filename": content.original_name if self._client.sends_names else content.name,
            "filetype": content.mime,
            "checksum": content.sha256.hex(),
            **({"tags": json.dumps(list(tags))} if tags else {}),
        }
        pairs = [f"{key} {b64encode(value.encode()).decode()}" for key, value in metadata.items()]
        headers = {**TUS_HEADERS, "upload-length": str(content.size), "upload-metadata": ",".join(pairs)}
        response = await self._client.send_tus_request("POST", path, headers)
        if error := error_for_upload(response, display_name(content.path)):
            raise error
        upload_url = _parse_location(response.headers.get("location", ""), path)
        if response.status != HTTPStatus.CREATED or upload_url is None:
            raise InvalidResponse("the server created an upload without a valid Location", status=response.status)
        with contextlib.suppress(StoreFull):  # then the upload cannot resume after a restart
            await self._ledger.start_upload(content.sha256, upload_url, now=self._clock.now())
        return upload_url

    async def _send_chunks(
        self,
        content: Content,
        upload_url: str,
        offset: int,
        on_progress: Callable[[int], None],
        check_admission: Callable[[], None],
    ) -> HttpResponse:
        """Send chunks from `offset` to the end and return the response to the last one.

        After a failed chunk the offset must be fetched, not assumed: the server may have stored all, a part or nothing
        of the chunk. Sending from a wrong offset would be a 409 at best.
        """
        size, size_max, retries = CHUNK_BYTES_FIRST, CHUNK_BYTES_MAX, 0
        while True:
            check_admission()
            end, started_at = min(offset + size, content.size), self._clock.monotonic()
            try:
                response = await self._send_chunk(content, upload_url, offset, end, on_progress)
                new_offset = _get_confirmed_offset(response, content, offset, end)
            except (_ChunkRejected, ConnectionLost) as error:
                retries += 1
                if retries > CHUNK_RETRIES_MAX:
                    raise
                if error.status == HTTPStatus.LOCKED:
                    await asyncio.sleep(LOCKED_RETRY_S)
                size = max(CHUNK_BYTES_MIN, size // 2)
                if error.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
                    size_max = size
                offset = await self._fetch_offset(content, upload_url)
                continue
            if new_offset == content.size:
                return response
            offset, retries = new_offset, 0
            size = min(get_next_chunk_size(size, self._clock.monotonic() - started_at), size_max)

    async def _send_chunk(
        self, content: Content, upload_url: str, start: int, end: int, on_progress: Callable[[int], None]
    ) -> HttpResponse:
        async def body() -> AsyncGenerator[bytes, None]:
            sent_bytes = start
            async for piece in content.iter_range(start, end):
                async for part in self._client.bandwidth_limiter.iter_throttled(piece):
                    yield part
                    sent_bytes += len(part)
                    on_progress(sent_bytes)

        headers = {
            **TUS_HEADERS,
            "content-type": "application/offset+octet-stream",
            "content-length": str(end - start),
            "upload-offset": str(start),
            "upload-checksum": f"sha256 {b64encode(await content.hash_range(start, end)).decode()}",
        }
        return await self._client.send_tus_request("PATCH", upload_url, headers, body, size=end - start)

    async def _fetch_offset(self, content: Content, upload_url: str) -> int:
        """Fetch the offset that the server has reached. Raises _UploadNotFound if it has no upload of this content."""
        response = await self._client.send_tus_request("HEAD", upload_url, TUS_HEADERS)
        if _is_not_found(response):
            raise _UploadNotFound
        if error := error_for(response):
            raise error
        offset, length = (_parse_int_header(response.headers, name) for name in ("upload-offset", "upload-length"))
        if offset is None or offset > content.size or length not in (None, content.size):
            raise _UploadNotFound
        return offset

    async def _forget(self, content: Content) -> None:
        with contextlib.suppress(StoreFull):  # a stale URL is harmless: the server responds 404 to it
            await self._ledger.end_upload(content.sha256)


def get_next_chunk_size(size: int, took_s: float) -> int:
    """Return the size of the next chunk, so that it takes about CHUNK_TARGET_S on this connection."""
    if took_s < CHUNK_TARGET_S / 2:
        return min(size * 2, CHUNK_BYTES_MAX)
    return size if took_s < CHUNK_TARGET_S * 2 else max(size // 2, CHUNK_BYTES_MIN)


def _get_confirmed_offset(response: HttpResponse, content: Content, start: int, end: int) -> int:
    """Return the offset that the server acknowledged after a chunk from `start` to `end`.

    It may lie inside the chunk: a server may store only a part of it (tus 1.0.0, PATCH). An offset outside of it would
    skip bytes or never progress. An empty chunk is only valid at the end of the file: it completes an upload whose last
    response was lost.
    """
    name, status = display_name(content.path), response.status
    if _is_not_found(response):
        raise _UploadNotFound
    is_retryable = status in (HTTPStatus.CONFLICT, HTTPStatus.LOCKED, CHECKSUM_MISMATCH)
    if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE and end - start > CHUNK_BYTES_MIN:
        is_retryable = True  # the limit of a proxy in front of the server, which accepts smaller requests
    if is_retryable and not response.is_unauthenticated:
        message = response.message or "no reason given"
        raise _ChunkRejected(f"the server rejected a chunk of {name} ({status}: {message})", status=status)
    if error := error_for_upload(response, name):
        raise error
    offset = _parse_int_header(response.headers, "upload-offset")
    if offset is None or not (start < offset <= end or start == offset == content.size):
        raise InvalidResponse(f"the server sent no valid Upload-Offset for {name}", status=status)
    return offset


def _is_not_found(response: HttpResponse) -> bool:
    return response.status in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE) and not response.is_unauthenticated


def _parse_int_header(headers: Mapping[str, str], name: str) -> int | None:
    text = headers.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


def _parse_location(location: str, endpoint: str) -> str | None:
    """Return the path of a new upload from its Location.

    Host and scheme are dropped, and a prefix added by a reverse proxy is cut off: such proxies often write them for
    their own side. The token is only sent to the configured server.
    """
    try:
        parts = urlsplit(urljoin(endpoint, location))
    except ValueError:
        return None
    path = f"{parts.path}?{parts.query}" if parts.query else parts.path
    path = path[max(path.find(f"{endpoint}/"), 0) :]
    return path if location and _is_path(path) else None


def _is_path(text: str) -> bool:
    """Return whether `text` is an absolute path on this server. `//host/path` would be a URL on another host."""
    return _PATH.fullmatch(text) is not None and len(text) <= URL_CHARS_MAX
