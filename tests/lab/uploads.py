"""The real library server, with several connections that upload concurrently and record its responses."""

import base64
import contextlib
import hashlib
import http.client
import json
import os
import random
import select
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab.programs import LIBRARY, TESTS

PNG = b"\x89PNG\r\n\x1a\n"
SIZES = (60, 700, 5_000, 40_000, 300_000)  # bytes; the last one exceeds the upload buffer of the server
TIMEOUT_S = 20.0
STORED = (201, 409)
BATCH = 4  # files in one upload by path
NUMBERS = 1_000_000  # more than the pictures that are uploaded singly


def picture(seed: int, number: int) -> bytes:
    """Return bytes that the server detects as PNG, the same for the same numbers."""
    chance = random.Random(f"{seed}/{number}")
    return PNG + chance.randbytes(chance.choice(SIZES))


def checksum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@contextmanager
def serving(data: Path, socket_path: Path, *, prefix: Sequence[str] = ()) -> Iterator[subprocess.Popen[bytes]]:
    """Run the server until the end of the block, then let it drain. `prefix` precedes its command."""
    reading, writing = os.pipe()
    log = socket_path.with_suffix(".log")
    command = [
        *prefix,
        *LIBRARY,
        "--data",
        str(data),
        "--uds",
        str(socket_path),
        "--log",
        str(log),
        "--allow-upload-by-path",
    ]
    process = subprocess.Popen(
        [*command, "--exit-with-stdin", "--ready-fd", str(writing)],
        cwd=TESTS,
        pass_fds=[writing],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    os.close(writing)
    with os.fdopen(reading, "rb") as ready:
        try:
            if not select.select([ready], [], [], TIMEOUT_S)[0] or not ready.readline():
                raise NotReady(kill(process))
            yield process
            process.communicate(timeout=TIMEOUT_S)
        finally:
            kill(process)


class NotReady(Exception):
    """The server ended before it was ready. Contains its output."""


class Connection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, socket_path: Path) -> None:
        super().__init__("library.test", timeout=TIMEOUT_S)
        self._path = str(socket_path)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(TIMEOUT_S)
        self.sock.connect(self._path)

    def upload(self, content: bytes) -> tuple[int, dict[str, Any]]:
        """Return the status and the JSON of the response."""
        head = b'--sploot\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
        body = head + content + b"\r\n--sploot--\r\n"
        self.request("POST", "/api/upload", body, {"Content-Type": "multipart/form-data; boundary=sploot"})
        response = self.getresponse()
        return response.status, json.loads(response.read())

    def upload_by_path(self, files: Sequence[Path]) -> tuple[int, dict[str, Any]]:
        """Do the same for files that the server reads itself."""
        named = [
            {
                "path": base64.b64encode(os.fsencode(file)).decode(),
                "size": file.stat().st_size,
                "checksum": checksum(file.read_bytes()),
                "filename": "a.png",
            }
            for file in files
        ]
        self.request("POST", "/api/upload/files", json.dumps({"files": named}))
        response = self.getresponse()
        return response.status, json.loads(response.read())

    def delete(self, asset_id: object, *, permanently: bool) -> int:
        self.request("DELETE", f"/api/assets/{asset_id}" + ("?permanent=true" if permanently else ""))
        response = self.getresponse()
        response.read()
        return response.status


@dataclass
class Uploads:
    """The acknowledged uploads, and the other responses of the server."""

    seed: int
    acknowledged: set[str] = field(default_factory=set)  # checksums
    rejected: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    _answered: threading.Condition = field(default_factory=threading.Condition)

    @contextmanager
    def running(self, socket_path: Path, connections: int) -> Iterator[None]:
        """Upload new pictures over several connections, some of them by path, until the end of the block."""
        stop, numbers, lock = threading.Event(), iter(range(NUMBERS)), threading.Lock()

        def work() -> None:
            connection = Connection(socket_path)
            while not stop.is_set():
                with lock:
                    number = next(numbers)
                try:
                    if number % 2:
                        self.upload_by_path(connection, socket_path.with_name("sources"), number)
                    else:
                        self.send(connection, picture(self.seed, number))
                except (OSError, http.client.HTTPException):
                    connection.close()  # the outcome is unknown
                    stop.wait(0.01)
            connection.close()

        threads = [threading.Thread(target=work) for _ in range(connections)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            for thread in threads:
                thread.join()

    def send(self, connection: Connection, content: bytes) -> int:
        status, response = connection.upload(content)
        with self._answered:
            if status in STORED:
                self.acknowledged.add(checksum(content))
            else:
                self.rejected.append((status, response))
            self._answered.notify_all()
        return status

    def upload_by_path(self, connection: Connection, folder: Path, number: int) -> None:
        """Upload a batch of new pictures by path, from files in `folder`."""
        folder.mkdir(exist_ok=True)
        files = [folder / f"{number}-{each}" for each in range(BATCH)]
        for each, file in enumerate(files):
            file.write_bytes(picture(self.seed, NUMBERS * (number + 1) + each))
        status, response = connection.upload_by_path(files)
        with self._answered:
            for file, outcome in zip(files, response.get("results", [response] * BATCH), strict=True):
                file_status = outcome.get("status", status)
                if file_status in STORED:
                    self.acknowledged.add(checksum(file.read_bytes()))
                else:
                    self.rejected.append((file_status, outcome))
            self._answered.notify_all()

    def wait_for(self, acknowledged: int, timeout_s: float) -> None:
        """Wait until this number of uploads is acknowledged."""
        with self._answered:
            assert self._answered.wait_for(lambda: len(self.acknowledged) >= acknowledged, timeout_s)

    def acknowledged_so_far(self) -> frozenset[str]:
        """Return the checksums of the uploads acknowledged until now."""
        with self._answered:
            return frozenset(self.acknowledged)

    def wait_for_rejection(self, timeout_s: float) -> tuple[int, dict[str, Any]]:
        """Return the first response that is not an acknowledgement."""
        with self._answered:
            assert self._answered.wait_for(lambda: self.rejected, timeout_s)
            return self.rejected[0]


def kill(process: subprocess.Popen[bytes]) -> str:
    """Kill the server and its tracer, if there is one. Returns their output."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    return "" if process.stderr is None or process.stderr.closed else process.communicate()[1].decode()
