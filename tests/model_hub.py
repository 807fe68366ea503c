"""A model hub on loopback that speaks the Hugging Face Hub's API for one repository."""

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

COMMIT = "c0ffee0123456789c0ffee0123456789c0ffee01"
LFS_SUFFIXES = (".onnx", ".onnx_data")  # as on the real hub, where all other files here are in git itself


@dataclass
class Hub:
    """Serves the files of `folder` as `owner/name`, whose branch `main` is at COMMIT."""

    folder: Path
    url: str = ""
    requests: list[tuple[str, str]] = field(default_factory=list)  # path and Range header
    break_after_bytes: dict[str, int] = field(default_factory=dict)  # the next response for a file ends early
    replaced: dict[str, bytes] = field(default_factory=dict)  # what is sent instead of a file's content
    etags: dict[str, str] = field(default_factory=dict)

    def describe(self) -> dict[str, Any]:
        return {
            "id": "owner/name",
            "sha": COMMIT,
            "tags": ["onnx", "license:apache-2.0"],
            "cardData": {"license": "mit", "language": "en"},
            "siblings": [self._describe_file(file) for file in sorted(self.folder.rglob("*")) if file.is_file()],
        }

    def _describe_file(self, file: Path) -> dict[str, Any]:
        content = file.read_bytes()
        blob = hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()
        described = {"rfilename": str(file.relative_to(self.folder)), "size": len(content), "blobId": blob}
        if file.suffix in LFS_SUFFIXES:
            described["lfs"] = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}
        return described


@contextmanager
def run_hub(folder: Path) -> Iterator[Hub]:
    hub = Hub(folder)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            hub.requests.append((self.path, self.headers.get("Range", "")))
            if re.fullmatch(rf"/api/models/owner/name/revision/(main|{COMMIT})\?blobs=true", self.path):
                self._send(200, json.dumps(hub.describe()).encode(), {"Content-Type": "application/json"})
            elif self.path.startswith(f"/owner/name/resolve/{COMMIT}/"):
                self._redirect(self.path.replace("/owner/name/resolve", "/cdn"))  # as the real hub does
            elif self.path.startswith(f"/cdn/{COMMIT}/"):
                self._send_file(self.path.removeprefix(f"/cdn/{COMMIT}/"))
            elif self.path.startswith("/files/"):
                self._send_file(self.path.removeprefix("/files/"))
            else:
                self._send(404, b"{}", {})

        def do_HEAD(self) -> None:
            self.do_GET()

        def _redirect(self, path: str) -> None:
            self._send(302, b"", {"Location": f"{hub.url}{path}"})

        def _send_file(self, name: str) -> None:
            content = hub.replaced.get(name) or (hub.folder / name).read_bytes()
            etag = hub.etags.get(name, f'"{hashlib.sha256(content).hexdigest()}"')
            wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            if wanted and self.headers.get("If-Range") == etag:
                start = int(wanted[1])
                span = f"bytes {start}-{len(content) - 1}/{len(content)}"
                self._send(206, content[start:], {"ETag": etag, "Content-Range": span}, name)
            else:
                self._send(200, content, {"ETag": etag}, name)

        def _send(self, status: int, body: bytes, headers: dict[str, str], name: str = "") -> None:
            self.send_response(status)
            for header, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(header, value)
            self.end_headers()
            if self.command == "HEAD":
                return
            limit = hub.break_after_bytes.pop(name, None)
            self.wfile.write(body[:limit])
            self.close_connection = self.close_connection or limit is not None

        def log_message(self, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
