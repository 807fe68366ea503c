"""Serves the files of the web UI, and no others."""

import asyncio

import sploot_web
from starlette.requests import Request
from starlette.responses import Response

from splootd.errors import RequestError

INDEX = "daemon/index.html"


async def serve_file(request: Request, name: str) -> Response:
    """Return the file, or 304 with its ETag when the browser has it. Raises RequestError for an unknown name."""
    try:
        file = await asyncio.to_thread(sploot_web.read_file, name)
    except FileNotFoundError:
        raise RequestError("no_such_route", f"file {name[:100]!r} does not exist", status=404) from None
    headers = {"etag": file.etag, "cache-control": "no-cache"}
    if file.etag in (tag.strip() for tag in request.headers.get("if-none-match", "").split(",")):
        return Response(status_code=304, headers=headers)
    return Response(file.content, headers={**headers, "content-type": file.content_type})
