"""For tests: a browser of few words at the page's door, over a real port. It says just the headers it is told to."""

import asyncio
import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from splootd.page.door import Door

LIMIT_S = 20


@dataclass(frozen=True)
class Reply:
    """An answer; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Browser:
    """Speaks to the door at `port`. Without a `cookie` it has not been let in."""

    port: int
    cookie: str | None = None

    @classmethod
    async def let_in(cls, door: Door) -> "Browser":
        url = urlsplit(await door.address(reset=False))
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
        return await self.ask("GET", path, **headers)

    async def change(self, method: str, path: str, body: Any = None, **headers: str) -> Reply:
        """As the page makes a change."""
        content = body if isinstance(body, bytes) else json.dumps(body or {}).encode()
        return await self.ask(method, path, content, **{"Origin": self.origin, "X_Sploot_Page": "1", **headers})

    async def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Reply:
        """`_` in the name of a header stands for `-`."""
        said = {"Host": f"127.0.0.1:{self.port}", "Connection": "close"}
        if self.cookie is not None:
            said["Cookie"] = self.cookie
        if body is not None:
            said["Content-Length"] = str(len(body))
        said |= {name.replace("_", "-"): value for name, value in headers.items()}
        head = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in said.items()), "", ""]
        return parsed(await self.raw("\r\n".join(head).encode("latin-1") + (body or b"")))

    async def raw(self, message: bytes) -> bytes:
        """Whatever comes back for `message`, until the other end hangs up."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        async with asyncio.timeout(LIMIT_S):
            try:
                writer.write(message)
                return await reader.read()
            except ConnectionError:
                return b""
            finally:
                writer.close()


def parsed(answer: bytes) -> Reply:
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if headers.get("transfer-encoding") == "chunked":
        body = _unchunked(body)
    return Reply(int(first.split()[1]), headers, body)


def _unchunked(body: bytes) -> bytes:
    whole = b""
    while body:
        number, _, rest = body.partition(b"\r\n")
        length = int(number, 16)
        whole, body = whole + rest[:length], rest[length + 2 :]
    return whole
