"""Command line of the admin commands of `sploot-server`.

Only one process opens a library. If no server runs, the command opens the library itself; otherwise it sends its
arguments to the server's admin socket. With `--database` the command always runs in its own process.
"""

import argparse
import asyncio
import contextlib
import os
import shlex
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

from sploot_server.admin.model_commands import add_model_parsers, run_model_command
from sploot_server.admin.service import AdminService, Output
from sploot_server.admin.service_install import add_install_parser, install
from sploot_server.admin.socket import SOCKET_NAME, send_command
from sploot_server.config import Config, ConfigError
from sploot_server.domain.byte_sizes import parse_bytes
from sploot_server.domain.sniff import EXTENSIONS
from sploot_server.environment import add_data_option, format_location, read_environment
from sploot_server.inference.worker_pool import WorkerEmbedder
from sploot_server.library.consistency_check import ConsistencyCheck
from sploot_server.library.embedding_jobs import EmbeddingQueue
from sploot_server.library.service import Library, now_ms
from sploot_server.library.thumbnails import Thumbnails
from sploot_server.server_process import DataDirLocked, lock_data_dir
from sploot_server.storage.sqlite.database import DATABASE_NAME
from sploot_server.storage.sqlite.library_backup import restore
from sploot_server.storage_backends import open_stores

CONNECT_TIMEOUT_S = 10.0  # a starting or stopping server holds the lock but does not listen on its socket
POLL_S = 0.05
LOCATION = frozenset({"data", "database", "blobs"})
"""The options that select the library."""
CREATES_LIBRARY = frozenset({"user add", "user invite", "import"})
USES_ORIGINALS = frozenset({"user remove", "export", "import", "check", "backup"})
DEFAULT_URL = f"http://127.0.0.1:{Config.port}"
INVITATION_DAYS = 7
UNLIMITED_BYTES = 1 << 40  # an import by the owner ignores the upload limit


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all admin commands."""
    top = argparse.ArgumentParser(prog="sploot-server", allow_abbrev=False)
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    _add_user_parsers(commands)
    tokens = commands.add_parser("token", help="manage access tokens").add_subparsers(required=True, metavar="ACTION")
    create = _add_command(tokens, "token create", "create a token and print it to standard output, once")
    create.add_argument("name", metavar="USER")
    create.add_argument("--out", metavar="FILE", help="write the token to this new file, which only you can read")
    create.add_argument("--label", default="", metavar="TEXT", help="purpose of the token, shown by `token list`")
    create.add_argument("--scopes", default="read,write", metavar="LIST", help="read, write, admin (%(default)s)")
    create.add_argument("--days", type=_parse_days, metavar="N", help="days until the token expires (default: never)")
    listing = _add_command(tokens, "token list", "list the valid tokens")
    listing.add_argument("--all", action="store_true", help="also list those that are revoked or expired")
    _add_command(tokens, "token revoke", "revoke a token immediately").add_argument("id", metavar="ID")
    invitations = commands.add_parser("invitation", help="manage unused invitations")
    actions = invitations.add_subparsers(required=True, metavar="ACTION")
    _add_command(actions, "invitation list", "list the unused invitations of all users")
    _add_command(actions, "invitation revoke", "revoke an unused invitation immediately").add_argument(
        "id", metavar="INVITATION", help="its link, or its id in the list"
    )
    link = commands.add_parser("link", aliases=["links"], help="manage share links")
    links = link.add_subparsers(required=True, metavar="ACTION")
    _add_command(links, "link list", "list the share links of all users")
    _add_command(links, "link revoke", "end a share link immediately").add_argument("link", metavar="LINK")
    for name, help_text in (
        ("export", "write all files and their metadata to a folder"),
        ("import", "add the files of an exported folder"),
    ):
        command = _add_command(commands, name, help_text)
        command.add_argument("folder", type=_absolute, metavar="FOLDER")
        command.add_argument(
            "--user", dest="name", metavar="NAME", help="owner of the library; required if accounts exist"
        )
    check = _add_command(commands, "check", "compare the database with the originals; exit 1 if they differ")
    check.add_argument("--hashes", action="store_true", help="also read every original and compare its SHA-256")
    check.add_argument(
        "--repair",
        action="store_true",
        help="remove originals without an asset, and delete assets whose original is missing or damaged: "
        "uploading the same file restores them",
    )
    backup = _add_command(commands, "backup", "copy the library to a folder, while it is in use, too")
    backup.add_argument("folder", type=_absolute, metavar="DEST", help="a new folder, or an earlier backup to renew")
    back = _add_command(commands, "restore", "make a library of a backup")
    back.add_argument("folder", type=_absolute, metavar="SRC", help="the folder of the backup")
    add_model_parsers(commands)
    add_install_parser(commands)
    return top


def _add_user_parsers(commands: Any) -> None:
    users = commands.add_parser("user", help="manage users").add_subparsers(required=True, metavar="ACTION")
    add = _add_command(users, "user add", "add a user")
    add.add_argument("name", metavar="NAME")
    add.add_argument("--adopt", action="store_true", help="give the user all files added without accounts")
    invite = _add_command(users, "user invite", "print a link that signs in one browser of a user; add a new user")
    invite.add_argument("name", metavar="NAME")
    invite.add_argument(
        "--url", default=DEFAULT_URL, metavar="URL", help="address at which members open the server (%(default)s)"
    )
    invite.add_argument(
        "--days", type=_parse_days, default=INVITATION_DAYS, metavar="N", help="days until it expires (%(default)s)"
    )
    _add_command(users, "user sign-out", "end all sessions and invitations of a user").add_argument(
        "name", metavar="NAME"
    )
    _add_command(users, "user list", "list users: name, date added, number of files, bytes and quota, admin or not")
    quota = _add_command(users, "user quota", "limit the bytes that a user may store")
    quota.add_argument("name", metavar="NAME")
    quota.add_argument("quota_bytes", type=_parse_quota, metavar="SIZE", help="such as 500MB or 20GB; none: no limit")
    admin = _add_command(users, "user admin", "show a user all members, invitations and share links in the page")
    admin.add_argument("name", metavar="NAME")
    admin.add_argument("--revoke", action="store_true", help="show them no longer")
    remove = _add_command(users, "user remove", "remove a user and their tokens")
    remove.add_argument("name", metavar="NAME")
    remove.add_argument("--with-pictures", action="store_true", help="also delete all files of the user permanently")


def run(arguments: argparse.Namespace) -> int:
    """Run a command and return its exit code. Raise DataDirLocked, ConfigError or DatabaseError."""
    if hasattr(arguments, "run_model_command"):
        return run_model_command(arguments)
    if hasattr(arguments, "root"):
        return install(arguments)
    os.umask(0o077)
    config = Config(
        data=arguments.data.absolute(),
        database=arguments.database,
        blobs=arguments.blobs,
        upload_bytes_max=UNLIMITED_BYTES,
        mime_types=tuple(EXTENSIONS),
    )
    command = {key: value for key, value in vars(arguments).items() if key not in LOCATION}
    command["location"] = format_location(config.data)
    if command["command"] == "token create":
        return _create_token(config, command)
    if command["command"] == "restore":
        return _restore(config, command)
    return _run(config, command, _print_line)


def _run(config: Config, command: Mapping[str, Any], output: Output) -> int:
    """Run a command in the process that may open the library: this one, or the running server."""
    if config.database is not None:
        return asyncio.run(_run_in_process(config, command, output))
    if command["command"] not in CREATES_LIBRARY and not (config.data / DATABASE_NAME).exists():
        raise ConfigError(
            f"{config.data} {'holds no library' if config.data.exists() else 'does not exist'}; check --data."
        )
    deadline = time.monotonic() + CONNECT_TIMEOUT_S
    while True:
        try:
            with _as_owner(config.data), lock_data_dir(config.data, 0):
                return asyncio.run(_run_in_process(config, command, output))
        except DataDirLocked:
            with contextlib.suppress(ConnectionError, FileNotFoundError):
                return send_command(config.data / SOCKET_NAME, command, output)
            if time.monotonic() > deadline:
                raise
            time.sleep(POLL_S)


@contextlib.contextmanager
def _as_owner(folder: Path) -> Iterator[None]:
    """Act as the owner of the folder if this is root: files of root would keep the owner's server from starting."""
    if os.geteuid() != 0 or not folder.exists():
        yield
        return
    owner = folder.stat()
    os.setegid(owner.st_gid)
    os.seteuid(owner.st_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


def _create_token(config: Config, command: dict[str, Any]) -> int:
    """Create a token, and write it here: the server may be another user, whom the file system shows other folders."""
    file = command.pop("out")
    if file is None:
        _print_line("err", "This token is shown only once. Sign in with it: `sploot login --token-stdin`.")
        return _run(config, command, _print_line)
    try:  # not into an existing file: others may have opened it
        stream = os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w")
    except OSError as error:
        _print_line("err", f"{file} cannot be written: {error.strerror}.")
        return 1
    code = 1
    try:
        with stream:
            code = _run(config, command, lambda name, line: _print_line(name, line, stream if name == "out" else None))
    finally:
        if code:
            Path(file).unlink()
    if code == 0:
        quoted = shlex.quote(file)
        _print_line("err", f"Wrote the token to {quoted}. Sign in with it: `sploot login --token-stdin < {quoted}`.")
    return code


def _restore(config: Config, command: dict[str, Any]) -> int:
    """Restore a backup, then compare its database with its originals."""
    if config.database is not None or config.blobs is not None:
        raise ConfigError("A backup is restored into one folder, without --database and --blobs.")
    try:
        with _as_owner(config.data):
            made_at = restore(Path(command["folder"]), config.data)
    except OSError as error:
        _print_line("err", f"{error}. The same command continues.")
        return 1
    _print_line("err", f"Restored the backup of {made_at} to {config.data}.")
    return _run(config, {**command, "command": "check", "hashes": False, "repair": False}, _print_line)


async def _run_in_process(config: Config, command: Mapping[str, Any], output: Output) -> int:
    """Open the library and run the command here. The next server computes the embeddings of imported files."""
    async with open_stores(config, owns_data=config.database is None) as stores:
        if command["command"] in USES_ORIGINALS:
            await stores.blob_identity.verify()
        embedder = WorkerEmbedder(threads=1, idle_s=1.0)  # starts its process with the first job, and none comes
        queue = EmbeddingQueue(stores.jobs, stores.blobs, embedder, stores.broker, now_ms)
        thumbnails = Thumbnails(config.data / "thumbnails", idle_s=1.0)
        library = Library(config, stores.assets, stores.blobs, queue, stores.broker, thumbnails=thumbnails)
        check = ConsistencyCheck(stores.assets, stores.blobs, library.lock_content, now_ms)
        service = AdminService(*(stores.accounts, stores.sessions, library, check, stores.shares), backup=stores.backup)
        return await service.run(command, output)


def _add_command(commands: Any, name: str, help_text: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(
        name.rpartition(" ")[2], help=help_text, description=help_text
    )
    command.set_defaults(command=name)
    add_data_option(command)
    for backend, help_line in (
        ("database", "PostgreSQL database of the library, if it uses one"),
        ("blobs", "S3 store of the originals, if the library uses one"),
    ):
        command.add_argument(f"--{backend}", metavar="URL", help=help_line)
    # The other options belong to one command line: a variable must not delete pictures with each user.
    read_environment(command, only=LOCATION)
    return command


def _absolute(text: str) -> str:
    return str(Path(text).absolute())


def _parse_days(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 36_500:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of days from 1 to 36500")
    return int(text)


def _parse_quota(text: str) -> int | None:
    try:
        return None if text == "none" else parse_bytes(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{error}, or none") from error


def _print_line(stream: str, line: str, file: TextIO | None = None) -> None:
    print(_printable(line), file=file or (sys.stdout if stream == "out" else sys.stderr), flush=True)


def _printable(line: str) -> str:
    """Escape what a terminal would obey: names in an export may come from another person."""
    return "".join(
        each if each.isprintable() or each == "\t" else each.encode("unicode_escape").decode() for each in line
    )
