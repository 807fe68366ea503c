"""`sploot-server install`: the files of a systemd service, and examples of the proxy before it.

The command writes files and starts nothing: what it prints can be pasted.
"""

import argparse
import shlex
import stat
import sys
from importlib import resources
from pathlib import Path
from typing import Any

from sploot_server import __version__
from sploot_server.config import ConfigError

DEFAULT_DOMAIN = "memes.example.org"
FILES = {
    "sploot-server.service": "etc/systemd/system/sploot-server.service",
    "sysusers.conf": "etc/sysusers.d/sploot-server.conf",
    "environment": "etc/sploot-server/environment",
    "Caddyfile": "etc/sploot-server/Caddyfile",
    "nginx.conf": "etc/sploot-server/nginx.conf",
}
"""The places of the templates."""
KEPT = frozenset({"environment"})
"""What an earlier installation has written stays: the operator has changed it."""


def add_install_parser(commands: Any) -> None:
    """Add `install` to the commands of `sploot-server`."""
    help_text = "write a systemd service with a user of its own, and examples of a proxy before it"
    parser = commands.add_parser("install", help=help_text, description=help_text)
    parser.add_argument("--domain", default=DEFAULT_DOMAIN, metavar="NAME", help="name of the library (%(default)s)")
    parser.add_argument("--root", type=Path, default=Path("/"), metavar="DIR", help="write below DIR (%(default)s)")


def install(arguments: argparse.Namespace) -> int:
    """Write the files, print what to do next, and return the exit code. Raise ConfigError."""
    values = {"@VERSION@": __version__, "@PYTHON@": _quote(sys.executable), "@DOMAIN@": arguments.domain}
    templates = resources.files(__package__) / "templates"
    written = {}
    for name, place in FILES.items():
        text = (templates / name).read_text("utf-8")
        for key, value in values.items():
            text = text.replace(key, value)
        written[name] = arguments.root / place
        if name not in KEPT or not written[name].exists():
            _write(written[name], text, private=name in KEPT)
    command = shlex.quote(str(Path(sys.executable).with_name("sploot-server")))
    sys.stdout.write(
        f"""Wrote {", ".join(map(str, written.values()))}.

Start the server, add a user, and create a token for them:

    sudo systemd-sysusers {shlex.quote(str(written["sysusers.conf"]))}
    sudo systemctl daemon-reload
    sudo systemctl enable --now sploot-server
    sudo {command} user add anna
    sudo {command} token create anna

Then put a proxy with https before it. With Caddy, import {written["Caddyfile"]}
in its Caddyfile; with nginx, copy {written["nginx.conf"]} to /etc/nginx/conf.d/.
"""
    )
    if arguments.domain == DEFAULT_DOMAIN:
        sys.stdout.write("Both name memes.example.org; `--domain NAME` writes them for yours.\n")
    if arguments.root == Path("/") and (hidden := find_hidden_folder(Path(sys.executable))):
        sys.stderr.write(
            f"The service will not start: its user cannot read {hidden}, where this program is installed. Install it "
            "for all users, for example with `sudo python3 -m venv /opt/sploot` and `sudo /opt/sploot/bin/pip install "
            "'sploot[local]'`, and run `sudo /opt/sploot/bin/sploot-server install`.\n"
        )
        return 1
    return 0


def _write(file: Path, text: str, *, private: bool) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary = file.with_name(f".{file.name}.new")
        temporary.touch(0o600 if private else 0o644)
        temporary.write_text(text, "utf-8")
        temporary.replace(file)
    except OSError as error:
        raise ConfigError(f"{file} cannot be written: {error.strerror}. Run the command with sudo.") from error


def _quote(path: str) -> str:
    """Quote a path for ExecStart, where % and $ have a meaning (systemd.service(5))."""
    escaped = path.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"'


def find_hidden_folder(program: Path) -> Path | None:
    """Return the outermost folder of a program that the user of the service cannot enter; None if there is none.

    The service sees no home folders (`ProtectHome`).
    """
    for folder in reversed(program.parents):
        if folder in (Path("/home"), Path("/root"), Path("/run/user")) or not folder.stat().st_mode & stat.S_IXOTH:
            return folder
    return None
