"""Client of Sploot's HTTP API: one method per endpoint."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from splootd.clock import Clock
from splootd.core.limits import Limits
from splootd.core.timetable import Timetable
from splootd.credentials import Credentials
from splootd.errors import ConnectionLost, InvalidResponse, ServerError, Unauthenticated
from splootd.file_reader import Content
from splootd.metrics.api_calls import ApiCalls
from splootd.remote.bandwidth_limiter import BandwidthLimiter
from splootd.remote.connection_pool import RotatingPool, create_ssl_context
from splootd.remote.content_coding import decode_bounded
from splootd.remote.exception_mapping import map_exceptions
from splootd.remote.http11_connection import StaleConnection
from splootd.remote.instrumentation import instrument
from splootd.remote.responses import (
    EmbeddingReport,
    EmbeddingStatus,
    ExistingAsset,
    Match,
    StoredAsset,
    parse_asset_embedding,
    parse_bundle_results,
    parse_check,
    parse_check_batch,
    parse_embedding_statuses,
    parse_limits,
    parse_matches,
    parse_page_embeddings,
    parse_stored_asset,
)
from splootd.remote.status_mapping import HttpResponse, error_for, error_for_upload, parse_bundle_result
from splootd.remote.upload_body import Form, FormPart, RequestBody, build_form, describe_path
from splootd.text import display_name, format_size, printable

CONNECTIONS_MAX = 4  # of the whole daemon
READ_TIMEOUT_S = 70.0  # Sploot's functions may run for 60 s
CONTROL_READ_TIMEOUT_S = 30.0
UPLOAD_BYTES_PER_S_MIN = 8_000  # the slowest upload that is not given up
RESPONSE_BYTES_MAX = 4_000_000


@dataclass(frozen=True, slots=True)
class _ApiRequest:
    method: str
    path: str
    headers: Mapping[str, str]
    body: RequestBody
    deadline_s: float  # for the whole exchange, response included
    is_repeatable: bool = True


class SplootClient:
    """Client of one Sploot server, over TCP or a Unix socket. Methods raise only `ServerError` or `ResourceExhausted`.

    It opens at most `connections` connections. One is reserved for control requests (limits, health, statuses, search),
    which must never wait behind an upload; the other `upload_connections_max` carry uploads and their checks.
    """

    def __init__(
        self,
        url: str,
        *,
        credentials: Credentials,
        connections: int,
        socket: Path | None = None,
        bandwidth_limiter: BandwidthLimiter | None = None,
    ) -> None:
        self.calls = ApiCalls()
        self.bandwidth_limiter = bandwidth_limiter or BandwidthLimiter(Timetable(), Clock())
        self.upload_connections_max = max(1, min(connections, CONNECTIONS_MAX) - 1)
        self.last_limits: Limits | None = None
        self._credentials = credentials
        self._is_local = socket is not None
        self._name = "the local server" if socket else printable(httpx.URL(url).host)
        base = "http://library" if socket else url
        create_pool = partial(RotatingPool, base, socket=socket, get_ssl_context=cache(create_ssl_context))
        self._upload_pool = create_pool(connections_max=self.upload_connections_max, read_s=READ_TIMEOUT_S)
        self._control_pool = create_pool(connections_max=1, read_s=CONTROL_READ_TIMEOUT_S)

    def __repr__(self) -> str:
        return f"SplootClient({self._name})"

    @instrument
    async def limits(self) -> Limits:
        """Fetch the upload limits.

        Sploot creates the row of a new user in this request, and concurrent requests would collide: send it first,
        and alone.
        """
        limits = parse_limits(await self._get_json(self._control_pool, "GET", "/api/upload"))
        if not self._is_local:  # a remote server cannot open local files and must not learn their paths
            limits = replace(limits, features={**limits.features, "uploadByPath": 0})
        self.last_limits = limits
        return limits

    @instrument
    async def check(self, sha256: bytes, *, control: bool = False) -> ExistingAsset | None:
        """Look a content up by hash. With `control` the request does not wait behind uploads."""
        body = {"checksum": sha256.hex()}  # lower case: Sploot accepts upper-case digits but never matches them
        return parse_check(
            await self._get_json(
                self._control_pool if control else self._upload_pool, "POST", "/api/upload/check", body
            )
        )

    @instrument
    async def check_batch(self, checksums: Sequence[bytes]) -> list[ExistingAsset | None]:
        """Look up several contents in one control request, at most `Limits.check_batch_max`."""
        digests = [each.hex() for each in checksums]
        response = await self._get_json(self._control_pool, "POST", "/api/upload/check/batch", {"checksums": digests})
        return parse_check_batch(response, digests)

    @instrument
    async def upload(
        self, content: Content, *, tags: Sequence[str] = (), on_progress: Callable[[int], None] = lambda _: None
    ) -> StoredAsset:
        """Upload one file. `on_progress` receives the number of bytes sent. Raises FileChanged if the file changed.

        Never send `sync_embeddings`: Sploot loses the image if the embedding fails.
        """
        form = await build_form([FormPart(content, tags, on_progress)], self.bandwidth_limiter)
        request = _create_upload_request("/api/upload", form)
        try:
            response = await self._send_authenticated(self._upload_pool, request)
        except ConnectionLost as lost:
            if not isinstance(lost.__cause__, StaleConnection) or await self.check(content.sha256):
                raise  # an unknown outcome, which the caller resolves
            response = await self._send_authenticated(self._upload_pool, request)
        if error := error_for_upload(response, display_name(content.path)):
            raise error
        on_progress(content.size)
        return parse_stored_asset(response.json(), sha256=content.sha256)

    @instrument
    async def send_tus_request(
        self, method: str, path: str, headers: Mapping[str, str], body: RequestBody = b"", *, size: int = 0
    ) -> HttpResponse:
        """Send one request of a resumable upload, with a body of `size` bytes, and return any response."""
        deadline_s = READ_TIMEOUT_S + size / UPLOAD_BYTES_PER_S_MIN
        request = _ApiRequest(method, path, headers, body, deadline_s, is_repeatable=method == "HEAD")
        return await self._send_authenticated(self._upload_pool, request)

    @instrument
    async def upload_bundle(self, files: Sequence[FormPart]) -> list[StoredAsset | ServerError]:
        """Upload several files in one request and return the result of each, in order.

        At most `Limits.bundle_files_max` files and `Limits.bundle_bytes_max` bytes.
        """
        response = await self._send_authenticated(
            self._upload_pool,
            _create_upload_request("/api/upload/bundle", await build_form(files, self.bandwidth_limiter)),
        )
        results = parse_bundle_results(_raise_for_status(response), len(files))
        for each in files:
            each.on_progress(each.content.size)
        return _parse_stored(files, results)

    @instrument
    async def upload_by_path(self, files: Sequence[FormPart]) -> list[StoredAsset | ServerError]:
        """Have a local server read files by path, at most `Limits.upload_by_path_max`; return the result of each."""
        body = json.dumps({"files": [describe_path(each) for each in files]}).encode()
        deadline_s = READ_TIMEOUT_S + sum(each.content.size for each in files) / UPLOAD_BYTES_PER_S_MIN
        headers = {"content-type": "application/json"}
        request = _ApiRequest("POST", "/api/upload/files", headers, body, deadline_s, is_repeatable=False)
        return _parse_stored(
            files,
            parse_bundle_results(
                _raise_for_status(await self._send_authenticated(self._upload_pool, request)), len(files)
            ),
        )

    @instrument
    async def embedding_statuses(self, asset_ids: Sequence[str]) -> Mapping[str, EmbeddingReport]:
        """Fetch the embedding statuses of at most 50 assets.

        READY is only reliable if `Limits.has_reliable_embedding_states`: Sploot itself also reports a failed embedding
        as ready.
        """
        path = "/api/assets/batch/embedding-status"
        return parse_embedding_statuses(
            await self._get_json(self._control_pool, "POST", path, {"assetIds": list(asset_ids)}), asset_ids
        )

    @instrument
    async def newest_embedding_statuses(self, limit: int, offset: int = 0) -> Mapping[str, EmbeddingReport]:
        """Fetch reliable embedding statuses of the newest assets, skipping the first `offset`."""
        path = f"/api/assets?limit={limit}&offset={offset}&sortBy=createdAt&sortOrder=desc"
        return parse_page_embeddings(await self._get_json(self._control_pool, "GET", path))

    @instrument
    async def embedding_status(self, asset_id: str) -> EmbeddingReport:
        """Fetch the reliable embedding status of one asset."""
        path = f"/api/assets/{quote(asset_id, safe='')}"
        response = await self._send_authenticated(
            self._control_pool, _ApiRequest("GET", path, {}, b"", CONTROL_READ_TIMEOUT_S)
        )
        # Only a 404 with a JSON error is about the asset. Sploot also sends a 404 page to a signed-out client.
        if response.status == httpx.codes.NOT_FOUND and not response.is_unauthenticated and response.message:
            return EmbeddingReport(EmbeddingStatus.UNKNOWN)
        return parse_asset_embedding(_raise_for_status(response))

    @instrument
    async def regenerate_embedding(self, asset_id: str) -> None:
        """Request an embedding that was never computed. Sploot responds after computing it, or with its error."""
        path = f"/api/assets/{quote(asset_id, safe='')}/generate-embedding"
        await self._get_json(self._upload_pool, "POST", path, {})

    @instrument
    async def search(self, text: str, limit: int) -> list[Match]:
        """Search the library; best match first."""
        return parse_matches(
            await self._get_json(self._control_pool, "POST", "/api/search", {"query": text, "limit": limit})
        )

    @instrument
    async def delete_permanently(self, asset_id: str) -> None:
        """Delete an asset permanently."""
        await self._get_json(self._control_pool, "DELETE", f"/api/assets/{quote(asset_id, safe='')}?permanent=true")

    @contextlib.asynccontextmanager
    async def control_slot(self) -> AsyncIterator[None]:
        """Hold the place of the control requests, for a connection that is opened without this client."""
        with map_exceptions(self._name):
            async with self._control_pool.slot():
                yield

    @instrument
    async def health(self) -> None:
        """Check that the server responds."""
        await self._get_json(self._control_pool, "GET", "/api/health")

    async def rotate_connections(self) -> None:
        """Use new connections from now on, after a sleep or a change of network."""
        await self._upload_pool.rotate()
        await self._control_pool.rotate()

    async def close(self) -> None:
        await self._upload_pool.close()
        await self._control_pool.close()

    async def _get_json(self, pool: RotatingPool, method: str, path: str, value: Any = None) -> Any:
        """Send a control request and return the JSON of its response."""
        return _raise_for_status(await self.request(method, path, value, pool=pool))

    async def request(
        self, method: str, path: str, value: Any = None, *, pool: RotatingPool | None = None
    ) -> HttpResponse:
        """Send a control request and return any response. By default it does not wait behind uploads."""
        pool, body = pool or self._control_pool, b"" if value is None else json.dumps(value).encode()
        headers = {"content-type": "application/json"} if body else {}
        return await self._send_authenticated(pool, _ApiRequest(method, path, headers, body, pool.read_s))

    @contextlib.asynccontextmanager
    async def stream(self, path: str, headers: Mapping[str, str]) -> AsyncIterator[httpx.Response]:
        """Request `path` and yield the head of the response, whose body may be large and is still to be read.

        It uses a connection of the uploads, so that it never blocks a control request.
        """
        with map_exceptions(self._name):
            request_headers = {**headers, **_authorization_header(await self._credentials.token())}
            async with self._upload_pool.stream("GET", path, headers=request_headers, content=b"") as response:
                yield response

    async def _send_authenticated(self, pool: RotatingPool, request: "_ApiRequest") -> HttpResponse:
        """Send a request with the current token; if it is rejected, send it once more with the next token."""
        with map_exceptions(self._name):
            token = await self._credentials.token()
        response = await self._send_once(pool, request, token)
        if response.is_unauthenticated and (next_token := await self._get_next_token(token)):
            response = await self._send_once(pool, request, next_token)
        return response

    async def _get_next_token(self, rejected: str | None) -> str | None:
        """Return another token to try, if there is one.

        Several requests can be rejected with the same expired token. The first of them refreshes it; the others find
        a token that differs from theirs.
        """
        with map_exceptions(self._name):
            if await self._credentials.token() == rejected:
                await self._credentials.refresh()
            token = await self._credentials.token()
        return None if token == rejected else token

    async def _send_once(self, pool: RotatingPool, request: "_ApiRequest", token: str | None) -> HttpResponse:
        with map_exceptions(self._name):
            try:
                return await _exchange(pool, request, token)
            except StaleConnection:
                if not request.is_repeatable:
                    raise
                return await _exchange(pool, request, token)


def _authorization_header(token: str | None) -> dict[str, str]:
    if token is None:
        return {}
    if not token.isascii() or not token.isprintable():
        raise Unauthenticated("the token contains invalid characters", "sign in again with `sploot login`")
    return {"authorization": f"Bearer {token}"}


async def _exchange(pool: RotatingPool, request: _ApiRequest, token: str | None) -> HttpResponse:
    headers = {**request.headers, **_authorization_header(token)}
    body = request.body if isinstance(request.body, bytes) else request.body()
    async with (
        asyncio.timeout(request.deadline_s),
        pool.stream(request.method, request.path, headers=headers, content=body) as response,
    ):
        return HttpResponse(response.status_code, response.headers, await _read_bounded(response))


async def _read_bounded(response: httpx.Response) -> bytes:
    """Read the body, of which at most RESPONSE_BYTES_MAX are accepted, compressed or not."""
    coding = response.headers.get("content-encoding", "identity")
    try:
        body = await decode_bounded(response.aiter_raw(), coding, RESPONSE_BYTES_MAX)
    except ValueError as error:
        detail = f"the server's response cannot be decoded: {error}"
        raise InvalidResponse(detail, status=response.status_code) from error
    if len(body) > RESPONSE_BYTES_MAX:
        raise InvalidResponse(
            f"the server's response is larger than {format_size(RESPONSE_BYTES_MAX)}", status=response.status_code
        )
    return body


def _create_upload_request(path: str, form: Form) -> _ApiRequest:
    deadline_s = READ_TIMEOUT_S + form.size / UPLOAD_BYTES_PER_S_MIN
    return _ApiRequest("POST", path, form.headers, form.body, deadline_s, is_repeatable=False)


def _parse_stored(files: Sequence[FormPart], results: Sequence[Mapping[str, Any]]) -> list[StoredAsset | ServerError]:
    """Convert the results of a request with several files, and report the progress of the stored ones as complete."""
    stored = [
        parse_bundle_result(result, name=display_name(each.content.path), sha256=each.content.sha256)
        for each, result in zip(files, results, strict=True)
    ]
    for each, result in zip(files, stored, strict=True):
        if isinstance(result, StoredAsset):
            each.on_progress(each.content.size)
    return stored


def _raise_for_status(response: HttpResponse) -> Any:
    if error := error_for(response):
        raise error
    return response.json()
