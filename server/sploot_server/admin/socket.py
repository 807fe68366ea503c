"""Admin socket: a running server executes the commands that `sploot-server user`, `token`, `export` and `import` send.

Only one process opens a library, so a command cannot open it beside a running server. The server listens on a Unix
socket in the data folder, which only its owner can enter. The request is one JSON line, the reply is JSON lines of the
form `["out" | "err" | "end", ...]`.
"""

import asyncio
import contextlib
import json
import os
import socket
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import structlog

from sploot_server.admin.service import AdminService, Output
from sploot_server.config import UDS_PATH_BYTES_MAX
from sploot_server.server_process import DataDirLocked

SOCKET_NAME = "admin.sock"
LINE_BYTES_MAX = 64 * 1024
READ_TIMEOUT_S = 10.0  # to receive the request line


def send_command(path: Path, command: Mapping[str, Any], output: Output) -> int:
    """Send a command to a running server, pass its lines to `output` and return the exit code.

    Raise ConnectionError or FileNotFoundError if no server listens, DataDirLocked if the path is too long for a socket.
    """
    with socket.socket(socket.AF_UNIX) as connection:
        with _short_path(path) as address:
            connection.connect(address)
        connection.sendall(json.dumps(command).encode() + b"\n")
        with connection.makefile("r", encoding="utf-8") as replies:
            for reply in replies:
                stream, payload = json.loads(reply)
                if stream == "end":
                    return int(payload)
                output(stream, payload)
    output("err", "The server stopped before the command finished. Run the command again.")
    return 1


@contextlib.asynccontextmanager
async def serve_admin_socket(path: Path, service: AdminService) -> AsyncIterator[None]:
    """Execute commands received at `path`, one at a time.

    The caller holds the lock of the data folder, so an existing socket must be stale and is removed.
    """
    lock = asyncio.Lock()

    async def handle_client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        def send_line(stream: str, payload: Any) -> None:
            writer.write(json.dumps([stream, payload]).encode() + b"\n")

        with contextlib.suppress(ConnectionError, TimeoutError, ValueError):
            async with asyncio.timeout(READ_TIMEOUT_S):
                command = json.loads(await reader.readline())
            async with lock:
                code = await service.run(command, send_line)
            send_line("end", code)
            await writer.drain()
        writer.close()

    _remove_socket(path)
    try:
        with _short_path(path) as address:
            server = await asyncio.start_unix_server(handle_client, address, limit=LINE_BYTES_MAX)
    except DataDirLocked as error:
        structlog.get_logger().warning("admin socket disabled", path=str(path), error=str(error))
        yield
        return
    service.catch_up()
    try:
        yield
    finally:
        server.close()
        _remove_socket(path)


def _remove_socket(path: Path) -> None:
    path.unlink(missing_ok=True)


@contextlib.contextmanager
def _short_path(path: Path) -> Iterator[str]:
    """Give the address of a socket whose path may exceed the kernel's limit: on Linux through the folder's descriptor.

    Raise DataDirLocked where that is not possible.
    """
    if len(bytes(path)) <= UDS_PATH_BYTES_MAX:
        yield str(path)
        return
    if sys.platform != "linux":
        raise DataDirLocked(
            f"A server uses {path.parent}, and this path is too long for its admin socket. Stop the server first."
        )
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
