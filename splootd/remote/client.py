"""Client of Sploot's HTTP API: one method per endpoint."""

import contextlib
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from splootd.clock import Clock
from splootd.core.limits import Limits
from splootd.core.timetable import Timetable
from splootd.credentials import Credentials
from splootd.errors import ConnectionLost, InvalidResponse, ServerError, TagsRejected, Unauthenticated
from splootd.file_reader import Content
from splootd.metrics.api_calls import ApiCalls
from splootd.remote.bandwidth_limiter import BandwidthLimiter
from splootd.remote.connection_pool import RotatingPool
from splootd.remote.content_coding import decode_bounded
from splootd.remote.exception_mapping import map_exceptions
from splootd.remote.http11_connection import StaleConnection
from splootd.remote.instrumentation import instrument
from splootd.remote.network_environment import create_ssl_context
from splootd.remote.pool_share import PoolShare
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
    parse_page_embeddings,
    parse_search,
    parse_stored_asset,
)
from splootd.remote.silence import SILENCE_S
from splootd.remote.status_mapping import (
    HttpResponse,
    error_for,
    error_for_bundle,
    error_for_upload,
    parse_bundle_result,
)
from splootd.remote.upload_body import Form, FormPart, ProgressCallback, RequestBody, build_form, describe_path
from splootd.text import display_name, format_size, printable

CONNECTIONS_MAX = 4  # of the whole daemon
CONTROL_REQUESTS_MAX = 1  # at the same time
CONTROL_RANK, UPLOAD_RANK = 0, 1
READ_TIMEOUT_S = 70.0  # Sploot's functions may run for 60 s
CONTROL_READ_TIMEOUT_S = 30.0
UPLOAD_BYTES_PER_S_MIN = 8_000  # the slowest upload that is not given up
RESPONSE_BYTES_MAX = 4_000_000
HEALTH_PATH = "/api/health"


@dataclass(frozen=True, slots=True)
class _ApiRequest:
    method: str
    path: str
    headers: Mapping[str, str]
    body: RequestBody
    deadline_s: float  # for the whole exchange, response included, from the moment it has a connection
    is_repeatable: bool = True


class SplootClient:
    """Client of one Sploot server, over TCP or a Unix socket. Methods raise only `ServerError` or `ResourceExhausted`.

    It opens at most `connections_max` connections, all of which carry uploads while no control request waits (limits,
    health, statuses, search). Control requests are sent one at a time, each on the first connection that becomes free.
    """

    def __init__(
        self,
        url: str,
        *,
        credentials: Credentials,
        connections: int,
        socket: Path | None = None,
        bandwidth_limiter: BandwidthLimiter | None = None,
        may_send_names: bool = True,
    ) -> None:
        self.calls = ApiCalls()
        self.bandwidth_limiter = bandwidth_limiter or BandwidthLimiter(Timetable(), Clock())
        self.connections_max = max(1, min(connections, CONNECTIONS_MAX))
        self.last_limits: Limits | None = None
        self._credentials = credentials
        self._is_local = socket is not None
        self._may_send_names = may_send_names
        self._name = "the local server" if socket else printable(httpx.URL(url).host)
        base = "http://library" if socket else url
        self._pool = RotatingPool(
            base, socket=socket, connections_max=self.connections_max, get_ssl_context=cache(create_ssl_context)
        )
        self._upload_pool = PoolShare(self._pool, read_s=READ_TIMEOUT_S, rank=UPLOAD_RANK)
        self._control_pool = PoolShare(
            self._pool, read_s=CONTROL_READ_TIMEOUT_S, rank=CONTROL_RANK, requests_max=CONTROL_REQUESTS_MAX
        )
        self._aside_pool = PoolShare(self._pool, read_s=SILENCE_S, rank=CONTROL_RANK)
        self.proxy, self.silence = self._pool.proxy, self._pool.silence

    def __repr__(self) -> str:
        return f"SplootClient({self._name})"

    @property
    def sends_names(self) -> bool:
        """Whether uploads carry the original names of files: the user allows it, and the server keeps them."""
        return self._may_send_names and self.last_limits is not None and self.last_limits.keeps_file_names

    @instrument
    async def limits(self) -> Limits:
        """Fetch the upload limits.

        Sploot creates the row of a new user in this request, and concurrent requests would collide: send it first,
        and alone.
        """
        limits = parse_limits(await self._get_json(self._control_pool, "GET", "/api/upload"))
        # A remote server cannot open local files and must not learn their paths, and is not installed from here.
        if not self._is_local:
            limits = replace(limits, features={**limits.features, "uploadByPath": 0, "missingDecoders": {}})
        self.last_limits = limits
        return limits

    @instrument
    async def check(self, sha256: bytes, *, control: bool = False) -> ExistingAsset | None:
        """Look a content up by hash. With `control` the request does not wait behind uploads."""
        body = {"checksum": sha256.hex()}  # lower case: Sploot accepts upper-case digits but never matches them
        pool = self._control_pool if control else self._upload_pool
        return parse_check(await self._get_json(pool, "POST", "/api/upload/check", body))

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
        form = await build_form(
            [FormPart(content, tags)],
            self.bandwidth_limiter,
            on_progress=lambda _, sent_bytes: on_progress(sent_bytes),
            with_names=self.sends_names,
        )
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
    async def upload_bundle(
        self, files: Sequence[FormPart], *, on_progress: ProgressCallback
    ) -> list[StoredAsset | ServerError]:
        """Upload several files in one request and return the result of each, in order.

        At most `Limits.bundle_files_max` files and `Limits.bundle_bytes_max` bytes.
        """
        form = await build_form(files, self.bandwidth_limiter, on_progress=on_progress, with_names=self.sends_names)
        request = _create_upload_request("/api/upload/bundle", form)
        response = await self._send_authenticated(self._upload_pool, request)
        if error := error_for_bundle(response, len(files)):
            raise error
        return _parse_stored(files, parse_bundle_results(response.json(), len(files)))

    @instrument
    async def upload_by_path(self, files: Sequence[FormPart]) -> list[StoredAsset | ServerError]:
        """Have a local server read files by path, at most `Limits.upload_by_path_max`; return the result of each."""
        body = json.dumps({"files": [describe_path(each, with_names=self.sends_names) for each in files]}).encode()
        deadline_s = READ_TIMEOUT_S + sum(each.content.size for each in files) / UPLOAD_BYTES_PER_S_MIN
        headers = {"content-type": "application/json"}
        request = _ApiRequest("POST", "/api/upload/files", headers, body, deadline_s, is_repeatable=False)
        response = _raise_for_status(await self._send_authenticated(self._upload_pool, request))
        return _parse_stored(files, parse_bundle_results(response, len(files)))

    @instrument
    async def embedding_statuses(self, asset_ids: Sequence[str]) -> Mapping[str, EmbeddingReport]:
        """Fetch the embedding statuses of at most 50 assets.

        READY is only reliable if `Limits.has_reliable_embedding_states`: Sploot itself also reports a failed embedding
        as ready.
        """
        path = "/api/assets/batch/embedding-status"
        body = await self._get_json(self._control_pool, "POST", path, {"assetIds": list(asset_ids)})
        return parse_embedding_statuses(body, asset_ids)

    @instrument
    async def newest_embedding_statuses(self, limit: int, offset: int = 0) -> Mapping[str, EmbeddingReport]:
        """Fetch reliable embedding statuses of the newest assets, skipping the first `offset`."""
        path = f"/api/assets?limit={limit}&offset={offset}&sortBy=createdAt&sortOrder=desc"
        return parse_page_embeddings(await self._get_json(self._control_pool, "GET", path))

    @instrument
    async def embedding_status(self, asset_id: str) -> EmbeddingReport:
        """Fetch the reliable embedding status of one asset."""
        path = f"/api/assets/{quote(asset_id, safe='')}"
        request = _ApiRequest("GET", path, {}, b"", CONTROL_READ_TIMEOUT_S)
        response = await self._send_authenticated(self._control_pool, request)
        if response.is_asset_missing:
            return EmbeddingReport(EmbeddingStatus.UNKNOWN)
        return parse_asset_embedding(_raise_for_status(response))

    @instrument
    async def regenerate_embedding(self, asset_id: str) -> None:
        """Request an embedding that was never computed. Sploot responds after computing it, or with its error."""
        path = f"/api/assets/{quote(asset_id, safe='')}/generate-embedding"
        await self._get_json(self._upload_pool, "POST", path, {})

    @instrument
    async def search(self, text: str, limit: int, filters: Any = None) -> tuple[list[Match], list[Match]]:
        """Return the matches and the merely nearest, both best first. Sploot ignores the `filters`, a mapping."""
        query = {"query": text, "limit": limit, **(filters or {})}
        return parse_search(await self._get_json(self._control_pool, "POST", "/api/search", query))

    @instrument
    async def delete_permanently(self, asset_id: str) -> None:
        """Delete an asset permanently, also one that was deleted softly. An asset that is gone is no error."""
        response = await self.request("DELETE", f"/api/assets/{quote(asset_id, safe='')}?permanent=true")
        if not response.is_asset_missing:
            _raise_for_status(response)

    @instrument
    async def add_tags(self, asset_id: str, tags: Sequence[str]) -> None:
        """Add tags to an asset that is in the library. Raises TagsRejected if the server does not accept them."""
        path = f"/api/assets/{quote(asset_id, safe='')}/tags"
        response = await self.request("POST", path, {"tagNames": list(tags)})
        if response.is_asset_missing or (response.status in (400, 405, 422) and not response.is_unauthenticated):
            detail = response.message or f"status {response.status}"
            raise TagsRejected(f"the library has the file, but did not accept its tags: {detail}")
        _raise_for_status(response)

    @contextlib.asynccontextmanager
    async def control_slot(self) -> AsyncIterator[None]:
        """Hold the place of the control requests, for a connection that is opened without this client."""
        with map_exceptions(self._name):
            async with self._control_pool.slot():
                yield

    @instrument
    async def health(self, *, aside: bool = False) -> None:
        """Check that the server responds. With `aside` the request does not wait behind other control requests."""
        await self._get_json(self._aside_pool if aside else self._control_pool, "GET", HEALTH_PATH)

    async def rotate_connections(self) -> None:
        """Use new connections from now on, after a sleep or a change of network."""
        await self._pool.rotate()

    async def close(self) -> None:
        await self._pool.close()

    async def _get_json(self, pool: PoolShare, method: str, path: str, value: Any = None) -> Any:
        """Send a control request and return the JSON of its response."""
        return _raise_for_status(await self.request(method, path, value, pool=pool))

    async def request(
        self, method: str, path: str, value: Any = None, *, pool: PoolShare | None = None
    ) -> HttpResponse:
        """Send a control request, `value` as JSON or bytes as they are. By default it does not wait for uploads."""
        pool, text = pool or self._control_pool, b"" if value is None else value
        body = text if isinstance(text, bytes) else json.dumps(text).encode()
        headers = {"content-type": "application/json"} if body is not text else {}
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

    async def _send_authenticated(self, pool: PoolShare, request: "_ApiRequest") -> HttpResponse:
        """Send a request with the current token; if it is rejected, send it once more with the next token."""
        with map_exceptions(self._name):
            token = await self._credentials.token()
        response = await self._send_once(pool, request, token)
        if response.is_unauthenticated and (next_token := await self._get_next_token(token)):
            response = await self._send_once(pool, request, next_token)
        self._record_sign_in(request, response)
        return response

    def _record_sign_in(self, request: "_ApiRequest", response: HttpResponse) -> None:
        """Record whether the server accepted the sign-in. Raises Unauthenticated if the token is for another server."""
        if response.is_unauthenticated:
            self._credentials.record_rejected()
            if foreign := self._credentials.foreign_token:
                title = f"you are signed out: {foreign} and is sent nowhere else"
                raise Unauthenticated(title, "sign in with `sploot login`", status=response.status)
        elif response.status < httpx.codes.BAD_REQUEST and request.path != HEALTH_PATH:  # that one needs no sign-in
            self._credentials.record_accepted()

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

    async def _send_once(self, pool: PoolShare, request: "_ApiRequest", token: str | None) -> HttpResponse:
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


async def _exchange(pool: PoolShare, request: _ApiRequest, token: str | None) -> HttpResponse:
    headers = {**request.headers, **_authorization_header(token)}
    body = request.body if isinstance(request.body, bytes) else request.body()
    exchange = pool.stream(request.method, request.path, headers=headers, content=body, deadline_s=request.deadline_s)
    async with exchange as response:
        url = f"{pool.base_url.rstrip('/')}{request.path}"
        return HttpResponse(response.status_code, response.headers, await _read_bounded(response), url)


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
    """Convert the results of a request with several files."""
    return [
        parse_bundle_result(result, name=display_name(each.content.path), sha256=each.content.sha256)
        for each, result in zip(files, results, strict=True)
    ]


def _raise_for_status(response: HttpResponse) -> Any:
    if error := error_for(response):
        raise error
    return response.json()
