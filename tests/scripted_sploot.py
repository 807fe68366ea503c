"""A scripted Sploot: a real server on a real socket, with a library in memory and scripted faults.

Without a script it behaves as Sploot does, including Sploot's deviations where a test enables them. It counts what
tests compare with the daemon: how often each content was stored, and the number of concurrent connections and uploads.
"""

import asyncio
import base64
import contextlib
import hashlib
import json
import os
import re
import threading
from collections import Counter, defaultdict, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

TYPES = ["image/jpeg", "image/png", "image/webp", "image/gif"]
BYTES_MAX = 10 * 1024 * 1024
SIGNED_OUT = {"x-clerk-auth-status": "signed-out", "x-clerk-auth-reason": "session-token-expired"}
HTML = {"content-type": "text/html; charset=utf-8"}
FEATURES = {"embeddingStates": "true", "checkBatch": 500, "bundle": {"files": 64, "bytes": 2 * 1024 * 1024}}
"""The `features` of a Sploot that accepts many checks, and many files, in one request."""
LOCAL_FEATURES = {**FEATURES, "uploadByPath": 64}
"""The same for a local server, which reads files by path."""

ROUTES = {
    ("GET", "/api/health"): "health",
    ("GET", "/api/upload"): "limits",
    ("POST", "/api/upload"): "upload",
    ("POST", "/api/upload/check"): "check",
    ("POST", "/api/upload/check/batch"): "checks",
    ("POST", "/api/upload/bundle"): "bundle",
    ("POST", "/api/upload/files"): "files",
    ("POST", "/api/assets/batch/embedding-status"): "statuses",
    ("GET", "/api/assets"): "assets",
    ("POST", "/api/search"): "search",
}


@dataclass(frozen=True)
class Request:
    route: str
    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def page(self) -> slice:
        """The requested part of a list."""
        params = dict(parse_qsl(self.target.partition("?")[2]))
        first = int(params.get("offset", "0"))
        return slice(first, first + int(params.get("limit", "50")))


@dataclass(frozen=True)
class Reply:
    """A response. A body that is not bytes is sent as JSON; `cut` sends only so many of its bytes, then disconnects."""

    status: int = 200
    body: Any = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None

    def encoded(self) -> bytes:
        body = self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()
        headers = {"content-type": "application/json", "content-length": str(len(body)), **self.headers}
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"HTTP/1.1 {self.status} Scripted\r\n{head}\r\n".encode() + body[: self.cut]


class Disconnect(Exception):
    """Raised by a handler to disconnect without a response."""


Handler = Callable[[Request], Awaitable[Reply]]


@dataclass
class Asset:
    id: str
    sha256: str
    tags: list[str]
    embedding: dict[str, Any] | None = None


class ScriptedSploot:
    """`script(route, ...)` queues handlers for the next requests of a route; `always[route]` handles all of them."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.assets: dict[str, Asset] = {}  # by checksum
        self.removed: set[str] = set()  # checksums of soft-deleted assets: Sploot fails on uploads of them
        self.stored: Counter[str] = Counter()  # 201s by checksum
        self.always: dict[str, Handler] = {}
        self.features: dict[str, Any] | None = {"embeddingStates": "true"}
        self.embeds_immediately = True
        self.bytes_max = BYTES_MAX
        self.connections = self.connections_max = self.uploads = self.uploads_max = 0
        self.in_progress = self.in_progress_max = 0  # requests, each on a connection of its own
        self._scripts: dict[str, deque[Handler]] = defaultdict(deque)
        self._handlers: set[asyncio.Task[None]] = set()
        self._arrived = asyncio.Event()

    def script(self, route: str, *handlers: Handler) -> None:
        self._scripts[route].extend(handlers)

    def count(self, route: str) -> int:
        return sum(request.route == route for request in self.requests)

    async def until(self, condition: Callable[["ScriptedSploot"], bool]) -> None:
        """Wait for requests until `condition` holds."""
        async with asyncio.timeout(30):
            while not condition(self):
                self._arrived.clear()
                await self._arrived.wait()

    def add(self, content: bytes, tags: list[str]) -> Asset:
        checksum = hashlib.sha256(content).hexdigest()
        asset = self.assets[checksum] = Asset(f"c{checksum[:24]}", checksum, tags)
        if self.embeds_immediately:
            asset.embedding = {"dim": 384, "modelName": "e5", "status": "pending", "error": None}
        self.stored[checksum] += 1
        return asset

    @contextlib.asynccontextmanager
    async def serve(self, socket: Path | None = None, port: int = 0) -> AsyncIterator[str]:
        """Listen on `socket`, or on a port, and yield the URL. All connections are closed at the end."""
        if socket is not None:
            server = await asyncio.start_unix_server(self._accept, socket)
        else:
            server = await asyncio.start_server(self._accept, "127.0.0.1", port)
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}" if socket is None else "http://library"
        finally:
            server.close()
            for handler in list(self._handlers):
                handler.cancel()
            await asyncio.gather(*self._handlers, return_exceptions=True)
            if socket is not None:
                socket.unlink(missing_ok=True)  # noqa: ASYNC240 - of no length

    async def act(self, request: Request) -> Reply:
        """Handle the request as Sploot does."""
        return getattr(self, f"_{request.route}")(request)  # type: ignore[no-any-return]  # every handler returns a Reply

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handler = asyncio.ensure_future(self._connection(reader, writer))
        self._handlers.add(handler)
        handler.add_done_callback(self._handlers.discard)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.connections_max = max(self.connections_max, self.connections)
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, Disconnect):
                while await self._serve(reader, writer):
                    pass
        finally:
            self.connections -= 1
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        first, *rest = head.rstrip().split("\r\n")
        method, target, _ = first.split(" ")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in rest)}
        path = target.partition("?")[0]
        route = ROUTES.get((method, path)) or ("asset" if path.startswith("/api/assets/") else "unknown")
        is_upload = route in ("upload", "bundle")
        self.uploads += is_upload
        self.uploads_max = max(self.uploads_max, self.uploads)
        self.in_progress += 1
        self.in_progress_max = max(self.in_progress_max, self.in_progress)
        try:
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            request = Request(route, method, target, headers, body)
            self.requests.append(request)
            self._arrived.set()
            script = self._scripts[route]
            reply = await (script.popleft() if script else self.always.get(route, self.act))(request)
        finally:
            self.uploads -= is_upload
            self.in_progress -= 1
        writer.write(reply.encoded())
        await writer.drain()
        return reply.cut is None

    def _health(self, _: Request) -> Reply:
        return Reply(body={"status": "ok"})

    def _limits(self, _: Request) -> Reply:
        body = {"status": "ready", "limits": {"maxFileSize": self.bytes_max, "allowedTypes": TYPES}}
        return Reply(body=body if self.features is None else {**body, "features": self.features})

    def _check(self, request: Request) -> Reply:
        return Reply(body=self._checked(request.json()["checksum"]))

    def _checks(self, request: Request) -> Reply:
        return Reply(body={"results": {each: self._checked(each) for each in request.json()["checksums"]}})

    def _checked(self, checksum: str) -> dict[str, Any]:
        asset = self.assets.get(checksum)
        if asset is None or asset.sha256 in self.removed:
            return {"exists": False, "message": "Asset not found. Safe to upload."}
        found = {"id": asset.id, "checksumSha256": asset.sha256, "hasEmbedding": asset.embedding is not None}
        return {"exists": True, "asset": found}

    def _bundle(self, request: Request) -> Reply:
        replies = [self._store(*file) for file in parse_files(request)]
        return Reply(body={"success": True, "results": [{"status": each.status, **each.body} for each in replies]})

    def _files(self, request: Request) -> Reply:
        replies = [self._stored_by_path(each) for each in request.json()["files"]]
        return Reply(body={"success": True, "results": [{"status": each.status, **each.body} for each in replies]})

    def _stored_by_path(self, file: dict[str, Any]) -> Reply:
        with contextlib.suppress(FileNotFoundError):
            content = Path(os.fsdecode(base64.b64decode(file["path"]))).read_bytes()
            if (len(content), hashlib.sha256(content).hexdigest()) == (file["size"], file["checksum"]):
                return self._store(content, "image/jpeg", file["tags"])
        return Reply(412, {"success": False, "error": "The content of the file does not match the declared checksum"})

    def _upload(self, request: Request) -> Reply:
        form = parse_form(request)
        return Reply(500, {"error": "Upload failed"}) if form is None else self._store(*form)

    def _store(self, content: bytes, kind: str, tags: list[str]) -> Reply:
        if kind not in TYPES:
            return Reply(400, {"success": False, "error": "File type not supported. Use JPEG, PNG, WebP, or GIF"})
        if len(content) > self.bytes_max:
            return Reply(400, {"success": False, "error": "File is too large (10.0MB). Maximum size is 10MB"})
        checksum = hashlib.sha256(content).hexdigest()
        if checksum in self.removed:
            return Reply(500, {"error": "Upload failed"})
        known = self.assets.get(checksum)
        asset = known or self.add(content, tags)
        body = {"success": True, "isDuplicate": known is not None, "asset": {"id": asset.id, "checksum": checksum}}
        return Reply(409 if known else 201, body)

    def _statuses(self, request: Request) -> Reply:
        by_id = {asset.id: asset for asset in self.assets.values() if asset.sha256 not in self.removed}
        return Reply(body={"statuses": {each: self._status(by_id.get(each)) for each in request.json()["assetIds"]}})

    def _status(self, asset: Asset | None) -> dict[str, Any]:
        if asset is None:
            return {"hasEmbedding": False, "status": "failed", "error": "Asset not found or access denied"}
        made = asset.embedding
        if made is None:
            return {"hasEmbedding": False, "status": "pending"}
        if self.features and not made["dim"]:
            return {"hasEmbedding": False, "status": "failed", "error": made["error"]}
        return {"hasEmbedding": True, "status": "ready"}  # Sploot reports any row as ready

    def _assets(self, request: Request) -> Reply:
        newest = list(reversed(self.assets.values()))[request.page]
        return Reply(body={"assets": [{"id": each.id, "embedding": each.embedding} for each in newest]})

    def _asset(self, request: Request) -> Reply:
        for asset in list(self.assets.values()):
            if (request.method, request.target) == ("DELETE", f"/api/assets/{asset.id}?permanent=true"):
                del self.assets[asset.sha256]
                return Reply(body={"message": "Asset permanently deleted"})
            if request.target == f"/api/assets/{asset.id}" and asset.sha256 not in self.removed:
                return Reply(body={"asset": {"id": asset.id, "embedding": asset.embedding}})
        return Reply(404, {"error": "Asset not found"})

    def _search(self, request: Request) -> Reply:
        results = [
            {"id": each.id, "blobUrl": f"http://x/{each.id}", "similarity": 0.5} for each in self.assets.values()
        ]
        return Reply(body={"results": results[: request.json()["limit"]]})

    def _unknown(self, _: Request) -> Reply:
        return Reply(404, b"<html>not found</html>", HTML)


def parse_form(request: Request) -> tuple[bytes, str, list[str]] | None:
    """Return content, declared type and tags of a form; None if undici, the parser of Sploot, would reject it."""
    files = parse_files(request)
    return files[0] if len(files) == 1 else None


def parse_files(request: Request) -> list[tuple[bytes, str, list[str]]]:
    """As `parse_form`, for every file of the form with the tags before it; empty if one part would be rejected."""
    found = re.fullmatch(r"multipart/form-data; boundary=([0-9A-Za-z-]{20,})", request.headers.get("content-type", ""))
    if not found:
        return []
    line = b"--" + found[1].encode()
    first, *parts, last = request.body.split(line)
    if first or last != b"--\r\n" or not parts:
        return []
    files, tags = [], []
    for part in parts:
        head, _, rest = part.partition(b"\r\n\r\n")
        if not head.startswith(b"\r\n") or not rest.endswith(b"\r\n") or b"filename*" in head or b"\\" in head:
            return []
        fields = dict(each.split(": ", 1) for each in head.decode().strip().split("\r\n"))
        if fields["Content-Disposition"] == 'form-data; name="tags"':
            tags = json.loads(rest[:-2])
        elif re.fullmatch(r'form-data; name="file"; filename="\w+\.\w+"', fields["Content-Disposition"]):
            files.append((rest[:-2], fields["Content-Type"], tags))
            tags = []
    return files


def reply_with(*arguments: Any, **options: Any) -> Handler:
    """Send this reply without handling the request."""

    async def act(_: Request) -> Reply:
        return Reply(*arguments, **options)

    return act


async def disconnect(_: Request) -> Reply:
    """Disconnect without handling the request."""
    raise Disconnect


lose_response = reply_with(200, {}, cut=0)
"""Disconnect after the head of a response, so that the request was certainly received."""


def store_then(server: ScriptedSploot, after: Handler) -> Handler:
    """Handle the request, but send the reply of `after`."""

    async def act(request: Request) -> Reply:
        await server.act(request)
        return await after(request)

    return act


def hold(server: ScriptedSploot, release: asyncio.Event) -> Handler:
    """Handle the request once `release` is set."""

    async def act(request: Request) -> Reply:
        await release.wait()
        return await server.act(request)

    return act


@contextlib.contextmanager
def run_scripted_sploot() -> Iterator[tuple[str, ScriptedSploot]]:
    """Run a server on a port, in its own thread."""
    server, urls, ready = ScriptedSploot(), list[str](), threading.Event()
    loop = asyncio.new_event_loop()
    ended = asyncio.Event()

    async def serve() -> None:
        async with server.serve() as url:
            urls.append(url)
            ready.set()
            await ended.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    try:
        assert ready.wait(30)
        yield urls[0], server
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(30)
        loop.close()
