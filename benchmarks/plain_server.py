"""A plain Sploot that costs little, to measure clients: `python benchmarks/plain_server.py --expect N`.

It stores nothing but the SHA-256 of each file. A response leaves `--rtt` after the last byte of its request, as on a
line with that round trip; so does `100 Continue`, and the first response of a connection leaves one `--rtt` later, for
the handshake. Each request takes `--took` seconds more. The program prints its URL, and, once N contents are stored,
one line of JSON (`Figures`).
"""

import argparse
import asyncio
import hashlib
import json
import re
import select
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

LIMITS = {"maxFileSize": 10_485_760, "allowedTypes": ["image/jpeg", "image/png", "image/webp", "image/gif"]}
EMBEDDING = {"modelName": "e5", "dim": 384, "status": "pending", "error": None}
TIME = "2026-01-01T00:00:00.000Z"
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
EXPECT = re.compile(rb"\r\nexpect: *100-continue", re.IGNORECASE)
ASSET = re.compile(r"/api/assets/(c\w+)$")
PAGE = re.compile(r"/api/assets\?limit=(\d+)&offset=(\d+)")
PUSH = ("/api/ws/", "/api/sse/")  # a WebSocket is refused: a plain Sploot has none


@dataclass
class Figures:
    """Requests by method and path, stored contents, and the most connections that were open at one moment.

    Connections that carry requests are counted apart from those of the push channel. `arrived_at` has the time of each
    upload's first bytes, by the monotonic clock, which all processes of a machine share.
    """

    requests: Counter[str] = field(default_factory=Counter)
    sha256: list[str] = field(default_factory=list)
    connections_max: int = 0
    push_connections_max: int = 0
    arrived_at: list[float] = field(default_factory=list)


class Library:
    """The contents in order of arrival, and the open connections."""

    def __init__(self, *, expected: int, rtt_s: float, took_s: float) -> None:
        self.figures = Figures()
        self.rtt_s = rtt_s
        self.took_s = took_s
        self._expected = expected
        self._ids: dict[str, str] = {}
        self._connections: set[_Connection] = set()

    def opened(self, connection: "_Connection") -> None:
        """Count a connection from its first request on, which tells its kind."""
        if connection in self._connections:
            return
        self._connections.add(connection)
        # The loop may see the end of an old connection later than the start of a new one.
        kinds = Counter(each.is_push for each in self._connections if not each.is_closed_by_client())
        self.figures.connections_max = max(self.figures.connections_max, kinds[False])
        self.figures.push_connections_max = max(self.figures.push_connections_max, kinds[True])

    def closed(self, connection: "_Connection") -> None:
        self._connections.discard(connection)

    def answer(self, method: str, target: str, body: memoryview) -> tuple[int, Any]:
        """Return status and JSON of one response."""
        if page := PAGE.match(target):
            return 200, self._page(int(page[2]), int(page[1]))
        if asset := ASSET.match(target):
            return 200, {"asset": {"id": asset[1], "embedding": EMBEDDING}}
        match method, target:
            case "GET", "/api/upload":
                return 200, {"status": "ready", "limits": LIMITS}
            case "POST", "/api/upload":
                return self._store(_file_of(body))
            case "POST", "/api/upload/check":
                return 200, self._check(json.loads(bytes(body))["checksum"])
            case "POST", "/api/assets/batch/embedding-status":
                ids = json.loads(bytes(body))["assetIds"]
                return 200, {"statuses": {each: {"hasEmbedding": True, "status": "ready"} for each in ids}}
        return 200, {"status": "ok"}

    def _store(self, content: memoryview) -> tuple[int, Any]:
        sha256 = hashlib.sha256(content).hexdigest()
        is_duplicate = sha256 in self._ids
        asset_id = self._ids.setdefault(sha256, f"c{len(self._ids):024}")
        asset = {"id": asset_id, "checksum": sha256, "size": len(content), "mimeType": "image/jpeg", "createdAt": TIME}
        return 409 if is_duplicate else 201, {"success": True, "isDuplicate": is_duplicate, "asset": asset}

    def _check(self, sha256: str) -> Any:
        if sha256 not in self._ids:
            return {"exists": False, "message": "Asset not found. Safe to upload."}
        return {"exists": True, "asset": {"id": self._ids[sha256], "checksumSha256": sha256, "hasEmbedding": True}}

    def _page(self, offset: int, limit: int) -> Any:
        ids = list(self._ids.values())[::-1]
        assets = [{"id": each, "embedding": EMBEDDING} for each in ids[offset : offset + limit]]
        has_more = offset + limit < len(ids)
        return {"assets": assets, "pagination": {"total": len(ids), "hasMore": has_more}}

    def report_when_complete(self) -> None:
        if len(self._ids) == self._expected and not self.figures.sha256:
            self.figures.sha256 = list(self._ids)
            print(json.dumps(vars(self.figures)), flush=True)


class _Connection(asyncio.Protocol):
    """One connection: requests one after another, each answered when the line and the server would have."""

    def __init__(self, library: Library) -> None:
        self.is_push = False
        self._library = library
        self._received = bytearray()
        self._needed = 0  # bytes of the current request; 0 before its header is complete
        self._lag_s = library.rtt_s  # of the handshake
        self._poll = select.poll()

    def is_closed_by_client(self) -> bool:
        return bool(self._poll.poll(0))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._poll.register(transport.get_extra_info("socket").fileno(), select.POLLRDHUP)

    def connection_lost(self, exc: Exception | None) -> None:
        self._library.closed(self)

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self._needed:
            self._read_header()
        if self._needed and len(self._received) >= self._needed:
            self._later(self._respond, self._library.took_s)

    def _read_header(self) -> None:
        end = self._received.find(b"\r\n\r\n") + 4
        if end < 4:
            return
        header = bytes(self._received[:end])
        self.is_push = header.split(b" ", 2)[1].decode().startswith(PUSH)
        self._library.opened(self)
        if header.startswith(b"POST /api/upload HTTP"):
            self._library.figures.arrived_at.append(time.monotonic())
        length = LENGTH.search(header)
        self._header_bytes, self._needed = end, end + (int(length[1]) if length else 0)
        if EXPECT.search(header):
            self._later(lambda: self._write(b"HTTP/1.1 100 Continue\r\n\r\n"), 0.0)

    def _later(self, act: Any, took_s: float) -> None:
        delay_s, self._lag_s = self._library.rtt_s + self._lag_s + took_s, 0.0
        if delay_s:
            asyncio.get_running_loop().call_later(delay_s, act)
        else:
            act()

    def _respond(self) -> None:
        method, target, _ = self._received[: self._received.index(b"\r\n")].decode().split(" ")
        self._library.figures.requests[f"{method} {target.partition('?')[0]}"] += 1
        if target.startswith(PUSH[1]):
            self._write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n: open\n\n")
            return
        with memoryview(self._received) as received, received[self._header_bytes : self._needed] as body:
            status, value = self._library.answer(method, target, body)
        self._received.clear()
        self._needed = 0
        content = json.dumps(value).encode()
        head = f"HTTP/1.1 {status} Plain\r\ncontent-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n"
        self._write(head.encode() + content)
        self._library.report_when_complete()

    def _write(self, data: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(data)


def _file_of(body: memoryview) -> memoryview:
    """Return the file of a form: between the header of the part named `file` and the closing boundary."""
    head = bytes(body[:2_000])
    boundary = head[: head.index(b"\r\n")]
    start = head.index(b"\r\n\r\n", head.index(b'name="file"')) + 4
    tail_bytes = len(boundary) + len(b"\r\n--\r\n")
    return body[start : len(body) - tail_bytes]


async def serve(library: Library) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: _Connection(library), "127.0.0.1", 0)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--expect", type=int, required=True, help="number of contents after which the figures follow")
    parser.add_argument("--rtt", type=float, default=0.0, help="round trip in seconds")
    parser.add_argument("--took", type=float, default=0.0, help="seconds that the server takes for each request")
    arguments = parser.parse_args()
    asyncio.run(serve(Library(expected=arguments.expect, rtt_s=arguments.rtt, took_s=arguments.took)))


if __name__ == "__main__":
    sys.exit(main())
