"""`sploot-server model`: add, list and remove the models of a library.

The command fetches and tests a model in its own process, where it can ask and show progress, and installs it in the
data folder. A running server is told through its admin socket and reads the library anew; otherwise the next one does.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sploot_server.admin.socket import SOCKET_NAME, send_command
from sploot_server.domain.byte_sizes import format_bytes
from sploot_server.environment import add_data_option, read_environment
from sploot_server.inference.model_folder import kind_of_files
from sploot_server.inference.model_manifest import ModelUnusable
from sploot_server.models.fetch_model import describe_model, install_model
from sploot_server.models.installed_models import InstalledModel, InstalledModels
from sploot_server.models.model_source import SHA256, ModelSource
from sploot_server.server_process import DataDirLocked

PROGRESS_INTERVAL_S = 0.2
LINE_INTERVAL_S = 5.0  # where the output is no terminal
ERASE_LINE = "\r\x1b[K"
CHANGED, PROGRESS = "model changed", "model progress"  # commands of the admin socket


def add_model_parsers(commands: Any) -> None:
    """Add `model add`, `model list` and `model remove` to the commands of `sploot-server`."""
    actions = commands.add_parser("model", help="manage the models of the library")
    actions = actions.add_subparsers(required=True, metavar="ACTION")
    add = _add_action(actions, "add", _add, "fetch a picture model or a text encoder and read the library with it")
    add.add_argument("source", metavar="SOURCE", help="a folder, an archive, a URL, or hf:OWNER/NAME[@REVISION]")
    add.add_argument("--yes", action="store_true", help="do not ask before fetching")
    add.add_argument("--sha256", type=_parse_sha256, metavar="HEX", help="SHA-256 that an archive must have")
    listing = _add_action(actions, "list", _list, "list the models and how far the library is read with them")
    listing.add_argument("--json", action="store_true", dest="as_json", help="print JSON")
    remove = _add_action(actions, "remove", _remove, "remove a model and read the library without it")
    remove.add_argument("name", metavar="NAME")


def _add_action(actions: Any, name: str, function: Any, help_text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(name, help=help_text, description=help_text)
    parser.set_defaults(run_model_command=function)
    add_data_option(parser)
    read_environment(parser, only=frozenset({"data"}))
    return parser


def run_model_command(arguments: argparse.Namespace) -> int:
    """Run a command and return its exit code: 1 if the model cannot be used or the user declines."""
    os.umask(0o077)
    try:
        return int(arguments.run_model_command(arguments, InstalledModels(arguments.data.absolute())))
    except (ModelUnusable, OSError) as error:
        _say(f"sploot-server: {error}")
        return 1


def _add(arguments: argparse.Namespace, models: InstalledModels) -> int:
    source = describe_model(arguments.source, sha256=arguments.sha256)
    _say("\n".join(render_source(source)))
    if not arguments.yes and not _confirm():
        _say("Nothing was fetched.")
        return 1
    progress = _Progress()
    try:
        install_model(source, models, progress.show)
    except KeyboardInterrupt:
        _say("Interrupted. The same command continues.")
        return 130
    finally:
        progress.erase()
    _say(f"Installed {source.name}.")
    _announce_change(models)
    return 0


def _list(arguments: argparse.Namespace, models: InstalledModels) -> int:
    wanted, in_use = models.wanted(), models.in_use()
    done, total = _ask_progress(models)
    rows = []
    for model in models.list_all():
        state = _state(model, wanted, in_use)
        if state == "being read" and total:
            state = f"reading {done} of {total}"
        rows.append(_to_json(model, state))
    if arguments.as_json:
        sys.stdout.write(f"{json.dumps(rows)}\n")
        return 0
    for row in rows:
        licence = row["licence"] or "licence not stated"
        fields = (
            row["name"],
            row["kind"],
            row["state"],
            format_bytes(row["sizeBytes"]),
            licence,
            row["origin"],
            row["revision"][:12],
        )
        sys.stdout.write("\t".join(filter(None, fields)) + "\n")
        for file, checksum in row["sha256"].items():
            sys.stdout.write(f"  {file}\tSHA-256 {checksum}\n")
    if not rows:
        _say("No models are added. Pictures are found by their words and the meaning of these.")
    return 0


def _remove(arguments: argparse.Namespace, models: InstalledModels) -> int:
    models.remove(arguments.name)
    _say(f"Removed {arguments.name}.")
    _announce_change(models)
    return 0


def _state(model: InstalledModel, wanted: Sequence[Path], in_use: Sequence[Path]) -> str:
    if model.folder in in_use:
        return "in use" if model.folder in wanted else "in use until the library is read anew"
    return "being read" if model.folder in wanted else "unused"


def _to_json(model: InstalledModel, state: str) -> Mapping[str, Any]:
    return {
        "name": model.name,
        "kind": model.kind,
        "state": state,
        "sizeBytes": model.size_bytes,
        "licence": model.licence,
        "origin": model.origin,
        "revision": model.revision,
        "sha256": model.sha256,
    }


def render_source(source: ModelSource) -> list[str]:
    """Return what the user should know before anything is fetched."""
    size = "unknown" if source.size_bytes is None else format_bytes(source.size_bytes)
    names = [file.name for file in source.files]
    kind = "" if len(names) == 1 else f"{kind_of_files(names)} "  # the content of an archive is not known yet
    lines = [f"{source.name}, {kind}from {source.origin}", f"  licence   {source.licence or 'not stated'}"]
    lines += [f"  revision  {source.revision}"] if source.revision else []
    lines.append(f"  size      {size}")
    width = max(map(len, names))
    for file in source.files:
        if file.sha256 is not None:
            checksum = f"SHA-256 {file.sha256}"
        else:
            checksum = f"git id {file.git_sha1}" if file.git_sha1 else "no checksum stated: --sha256 HEX checks it"
        size = "" if file.size_bytes is None else format_bytes(file.size_bytes)
        lines.append(f"  {file.name:<{width}}  {size:>9}  {checksum}")
    return lines


class _Progress:
    """Shows how much has arrived: in place on a terminal, as a line now and then elsewhere."""

    def __init__(self) -> None:
        self._is_live = sys.stderr.isatty()
        self._next_at = time.monotonic() + (0.0 if self._is_live else LINE_INTERVAL_S)

    def show(self, done: int, total: int | None) -> None:
        if time.monotonic() < self._next_at and done != total:
            return
        self._next_at = time.monotonic() + (PROGRESS_INTERVAL_S if self._is_live else LINE_INTERVAL_S)
        share = format_bytes(done)
        if total:
            share += f" of {format_bytes(total)}  {done / total:.0%}"
        sys.stderr.write(f"{ERASE_LINE}{share}" if self._is_live else f"{share}\n")
        sys.stderr.flush()

    def erase(self) -> None:
        if self._is_live:
            sys.stderr.write(ERASE_LINE)


def _confirm() -> bool:
    if not sys.stdin.isatty():
        _say("Pass --yes to fetch it without a question.")
        return False
    sys.stderr.write("Fetch and use it? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _announce_change(models: InstalledModels) -> None:
    if _send(models, CHANGED) is None:
        _say("The library is read anew when its server starts.")
    else:
        _say("The library is read anew in the background; `model list` shows how far. Searches work meanwhile.")


def _ask_progress(models: InstalledModels) -> tuple[int, int]:
    reply = _send(models, PROGRESS)
    if not reply:
        return 0, 0
    done, total = reply[0].split()
    return int(done), int(total)


def _send(models: InstalledModels, command: str) -> list[str] | None:
    """Send a command to the running server and return its lines; None if none runs."""
    lines: list[str] = []
    try:
        send_command(models.folder.parent / SOCKET_NAME, {"command": command}, lambda _, line: lines.append(line))
    except (ConnectionError, FileNotFoundError, DataDirLocked):
        return None
    return lines


def _parse_sha256(text: str) -> str:
    if not SHA256.fullmatch(text.lower()):
        raise argparse.ArgumentTypeError(f"{text!r} is not a SHA-256 of 64 hexadecimal digits")
    return text.lower()


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
