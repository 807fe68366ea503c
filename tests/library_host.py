"""Serves the library view and the protocol of the library for any number of drawn pictures, without a daemon."""

import io
import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import sploot_web
from PIL import Image

from splootd.web.request_security import CONTENT_SECURITY_POLICY

FEATURES = dict.fromkeys(("similar", "thumbnails", "sorts", "kinds", "dates", "folders", "copied", "templates"), True)
SIZES = ((640, 480), (500, 500), (480, 800), (800, 450), (600, 400), (300, 700), (1200, 500))
NEWEST = datetime(2026, 12, 1, tzinfo=UTC)
HTML = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Library</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="/static/ui/icon.svg"><link rel="stylesheet" href="/static/ui/ui.css">
<link rel="stylesheet" href="/static/library/library.css"><script type="module" src="/app.js"></script></head>
<body><header><h1 class="visually-hidden">Library</h1><search id="search-slot"></search></header>
<main><section id="library" aria-label="Library"></section></main><div id="toast" role="status"></div></body></html>"""
SCRIPT = """import { Library } from "/static/library/library.js";
const byId = (id) => document.getElementById(id);
globalThis.library = new Library(byId("library"), byId("search-slot"));
library.show();"""


def asset(number: int) -> dict[str, Any]:
    """Return the picture with this number: every fifth is a GIF, every fourth says something."""
    width, height = SIZES[number % len(SIZES)]
    is_gif = number % 5 == 4
    name = f"picture-{number}.{'gif' if is_gif else 'png'}"
    return {
        "id": f"p{number}",
        "name": name,
        "mime": "image/gif" if is_gif else "image/png",
        "width": width,
        "height": height,
        "size": 1000 + number,
        "favorite": False,
        "tags": [],
        "created_at": (NEWEST - timedelta(days=number)).isoformat(),
        "state": "ready",
        "score": None,
        "text": f"MONDAY NUMBER {number}" if number % 4 == 0 else None,
        "matched_words": [],
        "reason": None,
        "path": f"/home/anna/memes/2025/{name}",
        "link": None,
        "near_duplicate_count": 0,
    }


@cache
def image(width: int, height: int, kind: str) -> bytes:
    """Return a picture of stripes; a GIF has two frames."""
    frames = [Image.linear_gradient("L").resize((width, height)).rotate(180 * turn).convert("RGB") for turn in (0, 1)]
    content = io.BytesIO()
    frames[0].save(content, kind, **({"save_all": True, "append_images": frames[1:]} if kind == "gif" else {}))
    return content.getvalue()


@dataclass
class LibraryHost:
    """The pictures and what was asked of them. Tests may change both; `requests` are paths with their fields."""

    total: int
    features: dict[str, bool] = field(default_factory=lambda: dict(FEATURES))
    deleted: set[str] = field(default_factory=set)
    changes: dict[str, dict[str, Any]] = field(default_factory=dict)
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    url: str = ""

    def reset(self, total: int) -> None:
        """Start again with other pictures."""
        self.total, self.features = total, dict(FEATURES)
        self.deleted.clear()
        self.changes.clear()
        self.requests.clear()

    def page(self, fields: dict[str, str]) -> dict[str, Any]:
        """Return a page of the list, or the pictures whose text contains a word of the query."""
        offset, limit = int(fields.get("offset", 0)), int(fields.get("limit", 50))
        words = fields.get("text", "").lower().split()
        nearest: list[dict[str, Any]] = []
        if words or self.deleted or fields.get("kind"):
            rows = [each for number in range(min(self.total, 200)) if (each := self._match(number, words, fields))]
            nearest = [asset(number) for number in range(4)] if words and not rows else []
            total = len(rows)
            rows = rows[offset : offset + limit]
        else:
            total = self.total
            rows = [self._asset(number) for number in range(offset, min(offset + limit, total))]
        has_more = offset + limit < total
        return {"assets": rows, "total": total, "has_more": has_more, "features": self.features, "nearest": nearest}

    def _asset(self, number: int) -> dict[str, Any]:
        return asset(number) | self.changes.get(f"p{number}", {})

    def _match(self, number: int, words: list[str], fields: dict[str, str]) -> dict[str, Any] | None:
        found = self._asset(number)
        matched = [word for word in words if word in (found["text"] or "").lower()]
        is_kind = not fields.get("kind") or (fields["kind"] == "gif") == (found["mime"] == "image/gif")
        if found["id"] in self.deleted or not is_kind or (words and not matched):
            return None
        return found | {"matched_words": matched}

    def answer(self, method: str, path: str, fields: dict[str, str], body: dict[str, Any]) -> tuple[bytes, str]:
        """Return the content and the type of a response."""
        self.requests.append((f"{method} {path}", fields))
        match path.strip("/").split("/"):
            case [""]:
                return HTML.encode(), "text/html"
            case ["app.js"]:
                return SCRIPT.encode(), "text/javascript"
            case ["static", *_]:
                file = sploot_web.read_file(path.removeprefix("/static/"))
                return file.content, file.content_type
            case ["v1", "library"]:
                return json.dumps(self.page(fields)).encode(), "application/json"
            case ["v1", "library", ("tags" | "folders") as name]:
                return json.dumps({name: [{"id": "t1", "name": "work", "count": 3}]}).encode(), "application/json"
            case ["v1", "library", "templates"]:
                counts = Counter(name for change in self.changes.values() for name in change.get("templates", []))
                templates = [{"name": name, "count": count} for name, count in counts.items()]
                return json.dumps({"templates": templates}).encode(), "application/json"
            case ["v1", "library", picture, ("thumbnail" | "original")]:
                found = asset(int(picture[1:]))
                kind = "gif" if found["mime"] == "image/gif" else "png"
                return image(found["width"], found["height"], kind), found["mime"]
            case ["v1", "library", picture, *_]:
                if method == "PUT":  # /template
                    body = {"templates": [body["name"]]}
                if method == "DELETE":
                    self.deleted.add(picture)
                self.changes.setdefault(picture, {}).update(body)
                return json.dumps({"asset": self._asset(int(picture[1:]))}).encode(), "application/json"
        raise AssertionError(path)


@contextmanager
def library_host(total: int) -> Iterator[LibraryHost]:
    """Serve `total` pictures until the end of the block."""
    host = LibraryHost(total)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            target = urlsplit(self.path)
            body = json.loads(self.rfile.read(int(self.headers.get("content-length", 0))) or b"{}")
            content, kind = host.answer(self.command, target.path, dict(parse_qsl(target.query)), body)
            self.send_response(200)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(content)))
            self.send_header("content-security-policy", CONTENT_SECURITY_POLICY)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    for method in ("GET", "POST", "PATCH", "PUT", "DELETE"):
        setattr(Handler, f"do_{method}", Handler.answer)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    host.url = f"http://127.0.0.1:{server.server_address[1]}/"
    try:
        yield host
    finally:
        server.shutdown()
        server.server_close()
