"""Serves the files of `static/`, and no others."""

import asyncio
import hashlib
import re
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from splootd.errors import RequestError

STATIC_DIR = Path(__file__).with_name("static")
INDEX = "index.html"
NAME_PATTERN = re.compile(r"[a-z0-9][a-z0-9_-]*(\.[a-z0-9_-]+)*\.([a-z0-9]+)")  # no separators, no leading dot
CONTENT_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "png": "image/png",
    "webmanifest": "application/manifest+json",
}


async def serve_file(request: Request, name: str) -> Response:
    """Return the file, or 304 with its ETag when the browser has it. Raises RequestError for an unknown name."""
    content = await asyncio.to_thread(_read, name)
    headers = {"etag": f'"{hashlib.sha256(content).hexdigest()[:32]}"', "cache-control": "no-cache"}
    if headers["etag"] in (tag.strip() for tag in request.headers.get("if-none-match", "").split(",")):
        return Response(status_code=304, headers=headers)
    return Response(content, headers={**headers, "content-type": CONTENT_TYPES[name.rpartition(".")[2]]})


def _read(name: str) -> bytes:
    match = NAME_PATTERN.fullmatch(name)
    if match is None or match[2] not in CONTENT_TYPES:
        raise _not_found(name)
    try:
        return (STATIC_DIR / name).read_bytes()
    except (FileNotFoundError, IsADirectoryError):
        raise _not_found(name) from None


def _not_found(name: str) -> RequestError:
    return RequestError("no_such_route", f"file {name[:100]!r} does not exist", status=404)
