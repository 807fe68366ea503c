"""What the browser runs: the files of `static/`, and no others."""

import asyncio
import hashlib
import re
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from splootd.errors import RequestError

STATIC = Path(__file__).with_name("static")
INDEX = "index.html"
NAME = re.compile(r"[a-z0-9][a-z0-9_-]*(\.[a-z0-9_-]+)*\.([a-z0-9]+)")  # never a path
TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "png": "image/png",
    "webmanifest": "application/manifest+json",
}


async def file(request: Request, name: str) -> Response:
    """The file `name`; nothing but its tag where the browser has it already. RequestError when there is none."""
    content = await asyncio.to_thread(_read, name)
    headers = {"etag": f'"{hashlib.sha256(content).hexdigest()[:32]}"', "cache-control": "no-cache"}
    if headers["etag"] in (tag.strip() for tag in request.headers.get("if-none-match", "").split(",")):
        return Response(status_code=304, headers=headers)
    return Response(content, headers={**headers, "content-type": TYPES[name.rpartition(".")[2]]})


def _read(name: str) -> bytes:
    fits = NAME.fullmatch(name)
    if fits is None or fits[2] not in TYPES:
        raise _nothing(name)
    try:
        return (STATIC / name).read_bytes()
    except (FileNotFoundError, IsADirectoryError):
        raise _nothing(name) from None


def _nothing(name: str) -> RequestError:
    return RequestError("no_such_address", f"there is no file {name[:100]!r}", status=404)
