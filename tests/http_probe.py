"""A minimal HTTP client for tests of the web UI. It sends exactly the given headers over a real port."""

import asyncio
import json
import socket
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from splootd.web.server import WebServer

LIMIT_S = 20


@dataclass(frozen=True)
class Reply:
    """A response. Header names are lower-case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Browser:
    """A client of the web UI at `port`. Without a `cookie` it has no session."""

    port: int
    cookie: str | None = None

    @classmethod
    async def sign_in(cls, web_ui: WebServer) -> "Browser":
        url = urlsplit(await web_ui.create_login_url(reset=False))
        assert url.port is not None
        browser = cls(url.port)
        reply = await browser.get(f"{url.path}?{url.query}")
        assert (reply.status, reply.headers["location"]) == (303, "/")
        browser.cookie = reply.headers["set-cookie"].partition(";")[0]
        return browser

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def get(self, path: str, **headers: str) -> Reply:
        return await self.request("GET", path, **headers)

    async def change(self, method: str, path: str, body: Any = None, **headers: str) -> Reply:
        """Send a change with the headers of the web UI."""
        content = body if isinstance(body, bytes) else json.dumps(body or {}).encode()
        return await self.request(method, path, content, **{"Origin": self.origin, "X_Sploot_UI": "1", **headers})

    async def request(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Reply:
        """Send a request; `_` in a header name stands for `-`."""
        fields = {"Host": f"127.0.0.1:{self.port}", "Connection": "close"}
        if self.cookie is not None:
            fields["Cookie"] = self.cookie
        if body is not None:
            fields["Content-Length"] = str(len(body))
        fields |= {name.replace("_", "-"): value for name, value in headers.items()}
        head = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
        return parse_response(await self.raw("\r\n".join(head).encode("latin-1") + (body or b"")))

    async def raw(self, message: bytes) -> bytes:
        """Send `message` and return everything until the server closes the connection."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        async with asyncio.timeout(LIMIT_S):
            try:
                writer.write(message)
                return await reader.read()
            except ConnectionError:
                return b""
            finally:
                writer.close()


async def sends_at_once(listener: socket.socket) -> bool:
    """Return whether asyncio sends small pieces to clients of this listener without waiting for acknowledgements."""
    accepted = asyncio.get_running_loop().create_future()

    def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = writer.get_extra_info("socket")
        accepted.set_result(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0)

    async with await asyncio.start_server(accept, sock=listener):
        _, writer = await asyncio.open_connection(*listener.getsockname()[:2])
        is_at_once: bool = await asyncio.wait_for(accepted, LIMIT_S)
        writer.close()
    return is_at_once


def parse_response(message: bytes) -> Reply:
    head, _, body = message.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if headers.get("transfer-encoding") == "chunked":
        body = _join_chunks(body)
    return Reply(int(first.split()[1]), headers, body)


def _join_chunks(body: bytes) -> bytes:
    content = b""
    while body:
        number, _, rest = body.partition(b"\r\n")
        length = int(number, 16)
        content, body = content + rest[:length], rest[length + 2 :]
    return content
