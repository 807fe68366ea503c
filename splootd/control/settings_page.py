"""Handlers of the settings page: read and change the settings that are safe to change from a page."""

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path

from splootd import protocol
from splootd.config import (
    CONFIG_KEYS,
    ENVIRONMENT_VARIABLES,
    LOCAL,
    name_token_source,
    parse_value,
    read_toml,
    write_value,
)
from splootd.control.context import Context
from splootd.core.item import State
from splootd.credentials import TokenOrigins
from splootd.errors import RequestError
from splootd.server_url import get_origin
from splootd.text import display_path

EDITABLE_KEYS = (
    "server",
    "bandwidth_limit",
    "connections",
    "on_metered_network",
    "send_file_names",
    "library_types",
    "desktop_notifications",
)
"""Not `token_command`, which is run as a program, and no port, time or log level, which belong to an operator."""

FOLDERS_MAX = 20  # in one completion


def get_settings(context: Context, environ: Mapping[str, str]) -> protocol.Settings:
    """Return the editable settings as the running daemon has them."""
    values = ((key, str(context.config.get(key)), _overriding_variable(key, environ)) for key in EDITABLE_KEYS)
    rows = tuple(protocol.Setting(key, value, CONFIG_KEYS[key].choices, source) for key, value, source in values)
    return protocol.Settings(rows, str(Path.home()), str(context.paths.browser_uploads.resolve()))


async def change_setting(
    context: Context, request: protocol.ChangeSetting, environ: Mapping[str, str]
) -> protocol.MessageReply:
    """Write one setting and restart the daemon. Raises RequestError, also for a new server without confirmation."""
    key = request.key
    if key not in EDITABLE_KEYS:
        hint = f"in a terminal: sploot config set {key[:40]} VALUE"
        raise RequestError("bad_setting", f"{key[:40]!r} cannot be changed here", hint)
    if variable := _overriding_variable(key, environ):
        raise RequestError("bad_setting", f"the environment variable {variable} sets `{key}`", f"unset {variable}")
    value = parse_value(key, request.value)
    if value == context.config.get(key):
        return protocol.MessageReply("Nothing was changed.")
    if key == "server":
        await _check_new_server(context, value, is_confirmed=request.confirmed)
    await asyncio.to_thread(_write, context.paths.config_file, key, value)
    context.restart()
    return protocol.MessageReply("Saved. The daemon restarts with the new setting.", restart=True)


def _write(file: Path, key: str, value: object) -> None:
    read_toml(file)  # an invalid file is not overwritten: the user must repair it first
    write_value(file, key, value)


async def _check_new_server(context: Context, server: str, *, is_confirmed: bool) -> None:
    """Raise RequestError unless the user has confirmed what a new server will receive.

    A page never makes the daemon send a token to another server: that is left to the command line.
    """
    config = context.config
    token, origins = config.configured_token, TokenOrigins(context.paths.token_file)
    if server != LOCAL and token and not origins.is_foreign(token, get_origin(server)):
        title = f"{name_token_source(config.token)} would be sent to {server} as the token"
        raise RequestError("bad_setting", title, f"in a terminal: sploot config set server {server}")
    if is_confirmed:
        return
    folders = [_shorten(display_path(folder.path)) for folder in await context.folder_store.folders()]
    counts = await context.read_queries.counts()
    waiting = counts.by_state.get(State.PENDING, 0)
    target = "the library on this computer" if server == LOCAL else server
    files = f"All files of the watched folders ({', '.join(folders)})" if folders else "Files that you add from now on"
    left = f" {waiting} files that wait for {config.server} stay in its queue." if waiting else ""
    sign_in = "" if server == LOCAL else " To sign in there, run in a terminal: `sploot login`."
    title = f"{files} will be uploaded to {target}.{left}{sign_in}"
    raise RequestError("not_confirmed", title, status=409)


def find_folders(text: str, home: Path) -> protocol.FolderNames:
    """Return folders in `home` whose path begins with `text`. Hidden folders are left out."""
    path = os.path.join(home, text[1:].lstrip("/")) if text.startswith("~") else text  # noqa: PTH118 - keeps a last "/"
    parent, _, prefix = path.rpartition("/")
    folder, root = Path(parent or "/").resolve(), home.resolve()
    if "\0" in text or not folder.is_relative_to(root):
        return protocol.FolderNames(())
    try:
        with os.scandir(folder) as entries:
            names = [entry.path for entry in entries if _is_match(entry, prefix)]
    except OSError:
        return protocol.FolderNames(())
    return protocol.FolderNames(tuple(sorted(names)[:FOLDERS_MAX]))


def _is_match(entry: os.DirEntry[str], prefix: str) -> bool:
    is_named = entry.name.casefold().startswith(prefix.casefold()) and not entry.name.startswith(".")
    return is_named and entry.is_dir(follow_symlinks=False)


def _shorten(path: str) -> str:
    home = str(Path.home())
    return f"~{path[len(home) :]}" if path == home or path.startswith(f"{home}/") else path


def _overriding_variable(key: str, environ: Mapping[str, str]) -> str | None:
    variable = ENVIRONMENT_VARIABLES.get(key, "")
    return variable if environ.get(variable) else None
