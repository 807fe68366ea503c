"""Renders the files that start the daemon at login: systemd units, a launchd agent, a desktop entry."""

import os
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

import splootd
from splootd import __version__
from splootd.config import Paths

PASSED_VARIABLES = ("SPLOOT_HOME", "SPLOOT_PROFILE", "XDG_CONFIG_HOME", "XDG_STATE_HOME")
"""Variables that select the folders. A service reads all other settings from the configuration."""

_WRITTEN_BY = re.compile(r"Written by sploot (\S+)")


@dataclass(frozen=True, slots=True)
class ServiceIdentity:
    """The service of one daemon: its name and the values that its files contain."""

    name: str
    socket: Path
    output: Path
    environment: Mapping[str, str]
    python: str = sys.executable

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> "ServiceIdentity":
        """Return the identity for the home and profile given by `environ`; each pair has its own service."""
        paths = Paths.from_environ(environ)
        environment = {name: environ[name] for name in PASSED_VARIABLES if environ.get(name)}
        if "SPLOOT_HOME" in environment:
            environment["SPLOOT_HOME"] = str(Path(environment["SPLOOT_HOME"]).absolute())
        parts = ["splootd"]
        if "SPLOOT_HOME" in environment:
            parts.append(f"{crc32(os.fsencode(environment['SPLOOT_HOME'])):08x}")
        parts.append(environment.get("SPLOOT_PROFILE", ""))
        return cls("-".join(filter(None, parts)), paths.socket, paths.log.with_suffix(".out"), environment)


def read_template(folder: str, name: str) -> str:
    """Return a template, from inside an installed package or from beside it in a source tree."""
    package = Path(splootd.__file__).parent
    installed = package / "units" / folder / name
    return (installed if installed.exists() else package.parent / folder / name).read_text("utf-8")


def written_by(text: str) -> str | None:
    """Return the version of sploot that wrote `text`."""
    match = _WRITTEN_BY.search(text)
    return match[1] if match else None


def render_systemd_service(identity: ServiceIdentity) -> str:
    variables = " ".join(_quote_word(f"{name}={value}") for name, value in identity.environment.items())
    return _fill_template(
        read_template("systemd", "splootd.service.in"),
        NAME=identity.name,
        PYTHON=_quote_word(identity.python),
        ENVIRONMENT=f"Environment={variables}" if variables else "# All folders are in their default locations.",
    )


def render_systemd_socket(identity: ServiceIdentity) -> str:
    return _fill_template(
        read_template("systemd", "splootd.socket.in"), SOCKET=_escape_specifiers(str(identity.socket))
    )


def render_launchd_agent(identity: ServiceIdentity) -> str:
    """Return a property list that passes on PATH: launchd's own is too short to find most token commands."""
    import plistlib  # noqa: PLC0415 - only needed on macOS

    placeholders = {
        "@NAME@": launchd_label(identity),
        "@PYTHON@": identity.python,
        "@SOCKET@": str(identity.socket),
        "@OUTPUT@": str(identity.output),
    }
    agent = _replace_placeholders(plistlib.loads(read_template("launchd", "splootd.plist.in").encode()), placeholders)
    agent["EnvironmentVariables"] = {"PATH": os.environ.get("PATH", os.defpath), **identity.environment}
    text = plistlib.dumps(agent, sort_keys=False).decode()
    head, mark, rest = text.partition("<plist")
    return f"{head}<!-- Written by sploot {__version__} (sploot service install). -->\n{mark}{rest}"


def launchd_label(identity: ServiceIdentity) -> str:
    return identity.name.replace("splootd", "app.sploot.splootd", 1)


def render_desktop_entry(identity: ServiceIdentity) -> str:
    """Return an entry after the Autostart and Desktop Entry specifications of freedesktop.org."""
    variables = [f"{name}={value}" for name, value in identity.environment.items()]
    command = ["env", *variables, identity.python, "-P", "-m", "sploot", "daemon", "start"]
    return (
        f"# Written by sploot {__version__} (sploot service install)\n"
        "[Desktop Entry]\nType=Application\nName=Sploot\n"
        "Comment=Every meme in a folder, in the library\n"
        f"Exec={_quote_exec(command)}\n"
        "Terminal=false\nNoDisplay=true\nX-GNOME-Autostart-enabled=true\n"
    )


def _fill_template(text: str, **values: str) -> str:
    for name, value in {"VERSION": __version__, **values}.items():
        text = text.replace(f"@{name}@", value)
    return text


def _escape_specifiers(text: str) -> str:
    """Escape the specifiers of systemd.unit(5)."""
    return text.replace("%", "%%")


def _quote_word(word: str) -> str:
    """Quote a program path or an assignment as one word, after systemd.syntax(7)."""
    return '"' + _escape_specifiers(word).replace("\\", "\\\\").replace('"', '\\"') + '"'


def _quote_exec(words: Iterable[str]) -> str:
    """Quote a command line for a desktop entry.

    Escapes are doubled: the first level belongs to Exec, the second to string values in general.
    """
    quoted = (re.sub(r'([\\"`$])', r"\\\1", word).replace("\\", "\\\\").replace("%", "%%") for word in words)
    return " ".join(f'"{word}"' for word in quoted)


def _replace_placeholders(value: Any, placeholders: Mapping[str, str]) -> Any:
    """Return `value` of a property list with all placeholders replaced."""
    if isinstance(value, dict):
        return {key: _replace_placeholders(each, placeholders) for key, each in value.items()}
    if isinstance(value, list):
        return [_replace_placeholders(each, placeholders) for each in value]
    return placeholders.get(value, value) if isinstance(value, str) else value


def get_user_name() -> str:
    import pwd  # noqa: PLC0415 - rarely needed

    return pwd.getpwuid(os.getuid()).pw_name
