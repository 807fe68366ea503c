"""Command line of `sploot-server user`, `token`, `export` and `import`.

Only one process opens a library. If no server runs, the command opens the library itself; otherwise it sends its
arguments to the server's admin socket. With `--database` the command always runs in its own process.
"""

import argparse
import asyncio
import contextlib
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sploot_server.admin.service import AdminService
from sploot_server.admin.socket import SOCKET_NAME, send_command
from sploot_server.config import Config, backend_url_from_env
from sploot_server.domain.sniff import EXTENSIONS
from sploot_server.inference.worker_pool import WorkerEmbedder
from sploot_server.library.embedding_jobs import EmbeddingQueue
from sploot_server.library.service import Library, now_ms
from sploot_server.library.thumbnails import Thumbnails
from sploot_server.server_process import DataDirLocked, lock_data_dir
from sploot_server.storage_backends import open_stores

CONNECT_TIMEOUT_S = 10.0  # a starting or stopping server holds the lock but does not listen on its socket
POLL_S = 0.05
UNLIMITED_BYTES = 1 << 40  # an import by the owner ignores the upload limit


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of `user`, `token`, `export` and `import`."""
    top = argparse.ArgumentParser(prog="sploot-server", allow_abbrev=False)
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    users = commands.add_parser("user", help="manage users").add_subparsers(required=True, metavar="ACTION")
    add = _add_command(users, "user add", "add a user")
    add.add_argument("name", metavar="NAME")
    add.add_argument("--adopt", action="store_true", help="give the user all files added without accounts")
    _add_command(users, "user list", "list users: name, date added, number of files")
    remove = _add_command(users, "user remove", "remove a user and their tokens")
    remove.add_argument("name", metavar="NAME")
    remove.add_argument("--with-pictures", action="store_true", help="also delete all files of the user permanently")
    tokens = commands.add_parser("token", help="manage access tokens").add_subparsers(required=True, metavar="ACTION")
    create = _add_command(tokens, "token create", "create a token and print it to standard output, once")
    create.add_argument("name", metavar="USER")
    create.add_argument("--label", default="", metavar="TEXT", help="purpose of the token, shown by `token list`")
    create.add_argument("--scopes", default="read,write", metavar="LIST", help="read, write, admin (%(default)s)")
    create.add_argument("--days", type=_parse_days, metavar="N", help="days until the token expires (default: never)")
    _add_command(tokens, "token list", "list tokens: id, user, label, scopes, created, last used, validity")
    _add_command(tokens, "token revoke", "revoke a token immediately").add_argument("id", metavar="ID")
    for name, help_text in (
        ("export", "write all files and their metadata to a folder"),
        ("import", "add the files of an exported folder"),
    ):
        command = _add_command(commands, name, help_text)
        command.add_argument("folder", type=lambda text: str(Path(text).absolute()), metavar="FOLDER")
        command.add_argument("--user", metavar="NAME", help="owner of the library; required if accounts exist")
    return top


def run(arguments: argparse.Namespace) -> int:
    """Run a command and return its exit code. Raise DataDirLocked, ConfigError or DatabaseError."""
    os.umask(0o077)
    config = Config(
        data=arguments.data.absolute(),
        database=arguments.database,
        blobs=arguments.blobs,
        upload_bytes_max=UNLIMITED_BYTES,
        mime_types=tuple(EXTENSIONS),
    )
    command = {key: value for key, value in vars(arguments).items() if key not in ("data", "database", "blobs")}
    if config.database is not None:
        return asyncio.run(_run_in_process(config, command))
    deadline = time.monotonic() + CONNECT_TIMEOUT_S
    while True:
        try:
            with lock_data_dir(config.data, 0):
                return asyncio.run(_run_in_process(config, command))
        except DataDirLocked:
            with contextlib.suppress(ConnectionError, FileNotFoundError):
                return send_command(config.data / SOCKET_NAME, command, _print_line)
            if time.monotonic() > deadline:
                raise
            time.sleep(POLL_S)


async def _run_in_process(config: Config, command: Mapping[str, Any]) -> int:
    """Open the library and run the command here. The next server computes the embeddings of imported files."""
    async with open_stores(config, owns_data=config.database is None) as stores:
        embedder = WorkerEmbedder(threads=1, idle_s=1.0)  # starts its process with the first job, and none comes
        queue = EmbeddingQueue(stores.jobs, stores.blobs, embedder, stores.broker, now_ms)
        thumbnails = Thumbnails(config.data / "thumbnails", idle_s=1.0)
        library = Library(config, stores.assets, stores.blobs, queue, stores.broker, thumbnails=thumbnails)
        return await AdminService(stores.accounts, library).run(command, _print_line)


def _add_command(commands: Any, name: str, help_text: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(
        name.rpartition(" ")[2], help=help_text, description=help_text
    )
    command.set_defaults(command=name)
    command.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder of the library")
    for backend, help_line in (
        ("database", "PostgreSQL database of the library, if it uses one"),
        ("blobs", "S3 store of the originals, if the library uses one"),
    ):
        command.add_argument(f"--{backend}", default=backend_url_from_env(backend), metavar="URL", help=help_line)
    return command


def _parse_days(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 36_500:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of days from 1 to 36500")
    return int(text)


def _print_line(stream: str, line: str) -> None:
    print(line, file=sys.stdout if stream == "out" else sys.stderr, flush=True)
