"""`sploot-server user`, `token`, `export` and `import`: who runs them.

One process opens a library. If none does, the command itself; else it asks the server that does, over a socket in the
data folder that only its owner can use: one JSON line in, JSON lines `["out" | "err" | "end", ...]` back.
"""

import argparse
import asyncio
import contextlib
import json
import os
import socket
import sys
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import structlog

from sploot_server.config import UDS_PATH_BYTES_MAX, Config, elsewhere
from sploot_server.jobs import EmbeddingQueue
from sploot_server.library import Library, now_ms
from sploot_server.office import Office
from sploot_server.process import Occupied, owned
from sploot_server.sniff import EXTENSIONS
from sploot_server.stores import opened
from sploot_server.thumbnails import Thumbnails
from sploot_server.workers import WorkerEmbedder

SOCKET = "admin.sock"
LINE_BYTES_MAX = 64 * 1024
ERRAND_S_MAX = 10.0  # for the line to come in
MEET_S = 10.0  # for a server that is starting or ending
POLL_S = 0.05
ALL_BYTES = 1 << 40  # what its owner brings to a library is not limited by what may be uploaded


def parser() -> argparse.ArgumentParser:
    """Of `user`, `token`, `export` and `import`."""
    top = argparse.ArgumentParser(prog="sploot-server", allow_abbrev=False)
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    users = commands.add_parser("user", help="who may use this library").add_subparsers(required=True, metavar="WHAT")
    add = _command(users, "user add", "add a user")
    add.add_argument("name", metavar="NAME")
    add.add_argument("--adopt", action="store_true", help="give him what was added without accounts")
    _command(users, "user list", "name, day of adding, pictures")
    remove = _command(users, "user remove", "remove a user and his tokens")
    remove.add_argument("name", metavar="NAME")
    remove.add_argument("--with-pictures", action="store_true", help="and all his pictures, for ever")
    tokens = commands.add_parser("token", help="what programs show").add_subparsers(required=True, metavar="WHAT")
    create = _command(tokens, "token create", "make a token; it goes to standard output, once")
    create.add_argument("name", metavar="USER")
    create.add_argument("--label", default="", metavar="TEXT", help="what it is for")
    create.add_argument("--scopes", default="read,write", metavar="LIST", help="read, write, admin (%(default)s)")
    create.add_argument("--days", type=_days, metavar="N", help="valid for so long (for ever)")
    _command(tokens, "token list", "id, user, label, scopes, made, used, valid")
    _command(tokens, "token revoke", "end a token at once").add_argument("id", metavar="ID")
    for name, does in (("export", "write all pictures and what is known of them"), ("import", "take an export in")):
        command = _command(commands, name, does)
        command.add_argument("folder", type=lambda text: str(Path(text).absolute()), metavar="FOLDER")
        command.add_argument("--user", metavar="NAME", help="whose library, where there are accounts")
    return top


def run(arguments: argparse.Namespace) -> int:
    """The exit code. Raises Occupied, ConfigError or DatabaseError."""
    os.umask(0o077)
    config = Config(
        data=arguments.data.absolute(),
        database=arguments.database,
        blobs=arguments.blobs,
        upload_bytes_max=ALL_BYTES,
        mime_types=tuple(EXTENSIONS),
    )
    errand = {key: value for key, value in vars(arguments).items() if key not in ("data", "database", "blobs")}
    if config.database is not None:
        return asyncio.run(_do(config, errand))
    deadline = time.monotonic() + MEET_S
    while True:
        try:
            with owned(config.data, 0):
                return asyncio.run(_do(config, errand))
        except Occupied:
            with contextlib.suppress(ConnectionError, FileNotFoundError):
                return ask(config.data / SOCKET, errand)
            if time.monotonic() > deadline:
                raise
            time.sleep(POLL_S)


def ask(path: Path, errand: Mapping[str, Any]) -> int:
    """Have a server run an errand; its exit code. Raises ConnectionError or FileNotFoundError if none can be asked."""
    if len(bytes(path)) > UDS_PATH_BYTES_MAX:
        raise Occupied(f"A server has {path.parent} open, and that path is too long for a socket; stop it first.")
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(str(path))
        line.sendall(json.dumps(errand).encode() + b"\n")
        with line.makefile("r", encoding="utf-8") as answers:
            for answer in answers:
                stream, said = json.loads(answer)
                if stream == "end":
                    return int(said)
                _print(stream, said)
    _print("err", "The server ended before this was done; run it again.")
    return 1


@contextlib.asynccontextmanager
async def answering(path: Path, office: Office) -> AsyncIterator[None]:
    """Take errands at `path`, one at a time. The caller owns the folder, so that a socket there is a stale one."""
    if len(bytes(path)) > UDS_PATH_BYTES_MAX:
        structlog.get_logger().warning("no errands while serving: the path is too long for a socket", path=str(path))
        yield
        return
    turn = asyncio.Lock()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        def say(stream: str, said: Any) -> None:
            writer.write(json.dumps([stream, said]).encode() + b"\n")

        with contextlib.suppress(ConnectionError, TimeoutError, ValueError):
            async with asyncio.timeout(ERRAND_S_MAX):
                errand = json.loads(await reader.readline())
            async with turn:
                code = await office.run(errand, say)
            say("end", code)
            await writer.drain()
        writer.close()

    _clear(path)
    server = await asyncio.start_unix_server(answer, path, limit=LINE_BYTES_MAX)
    try:
        yield
    finally:
        server.close()
        _clear(path)


async def _do(config: Config, errand: Mapping[str, Any]) -> int:
    """In this process. Pictures that come in are read when a server runs again."""
    async with opened(config, owns_data=config.database is None) as stores:
        embedder = WorkerEmbedder(threads=1, idle_s=1.0)  # starts nothing unless it is asked
        queue = EmbeddingQueue(stores.jobs, stores.blobs, embedder, stores.news, now_ms)
        thumbnails = Thumbnails(config.data / "thumbnails", idle_s=1.0)
        library = Library(config, stores.assets, stores.blobs, queue, stores.news, thumbnails=thumbnails)
        return await Office(stores.accounts, library).run(errand, _print)


def _command(commands: Any, name: str, does: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(name.rpartition(" ")[2], help=does, description=does)
    command.set_defaults(do=name)
    command.add_argument("--data", type=Path, required=True, metavar="DIR", help="where the library is kept")
    for kept, where in (
        ("database", "PostgreSQL, if the library is kept there"),
        ("blobs", "S3, if the originals are"),
    ):
        command.add_argument(f"--{kept}", default=elsewhere(kept), metavar="URL", help=where)
    return command


def _days(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 36_500:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of days from 1 to 36500")
    return int(text)


def _clear(path: Path) -> None:
    path.unlink(missing_ok=True)


def _print(stream: str, said: str) -> None:
    print(said, file=sys.stdout if stream == "out" else sys.stderr, flush=True)
