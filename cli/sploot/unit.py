"""What is written for the daemon to be there at login: systemd's units, an agent of launchd, an entry of a desktop."""

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

KEPT_VARIABLES = ("SPLOOT_HOME", "SPLOOT_PROFILE", "XDG_CONFIG_HOME", "XDG_STATE_HOME")
"""Where things lie. A session's other variables are its own: a service finds its settings in the configuration."""

_STAMP = re.compile(r"Written by sploot (\S+)")


@dataclass(frozen=True, slots=True)
class Place:
    """One daemon of one user: its name among services, and what its service needs to know."""

    name: str
    socket: Path
    output: Path
    environment: Mapping[str, str]
    python: str = sys.executable

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> "Place":
        """The place that `environ` means; each home and each profile has a service of its own."""
        paths = Paths.find(environ)
        kept = {name: environ[name] for name in KEPT_VARIABLES if environ.get(name)}
        if "SPLOOT_HOME" in kept:
            kept["SPLOOT_HOME"] = str(Path(kept["SPLOOT_HOME"]).absolute())
        parts = ["splootd"]
        if "SPLOOT_HOME" in kept:
            parts.append(f"{crc32(os.fsencode(kept['SPLOOT_HOME'])):08x}")
        parts.append(kept.get("SPLOOT_PROFILE", ""))
        return cls("-".join(filter(None, parts)), paths.socket, paths.log.with_suffix(".out"), kept)


def template(folder: str, name: str) -> str:
    """The text of a template: in an installed package it lies inside, in a source tree beside it."""
    package = Path(splootd.__file__).parent
    installed = package / "units" / folder / name
    return (installed if installed.exists() else package.parent / folder / name).read_text("utf-8")


def stamp(text: str) -> str | None:
    """The version that has written `text`."""
    found = _STAMP.search(text)
    return found[1] if found else None


def systemd_service(place: Place) -> str:
    variables = " ".join(_quoted(f"{name}={value}") for name, value in place.environment.items())
    return _filled(
        template("systemd", "splootd.service.in"),
        NAME=place.name,
        PYTHON=_quoted(place.python),
        ENVIRONMENT=f"Environment={variables}" if variables else "# All places are where the system has them.",
    )


def systemd_socket(place: Place) -> str:
    return _filled(template("systemd", "splootd.socket.in"), SOCKET=_escaped(str(place.socket)))


def launchd_agent(place: Place) -> str:
    """A property list. The minimal PATH of launchd would not find the command that prints a token."""
    import plistlib  # noqa: PLC0415 - for macOS alone

    marks = {
        "@NAME@": agent_label(place),
        "@PYTHON@": place.python,
        "@SOCKET@": str(place.socket),
        "@OUTPUT@": str(place.output),
    }
    agent = _replaced(plistlib.loads(template("launchd", "splootd.plist.in").encode()), marks)
    agent["EnvironmentVariables"] = {"PATH": os.environ.get("PATH", os.defpath), **place.environment}
    text = plistlib.dumps(agent, sort_keys=False).decode()
    head, mark, rest = text.partition("<plist")
    return f"{head}<!-- Written by sploot {__version__} (sploot service install). -->\n{mark}{rest}"


def agent_label(place: Place) -> str:
    return place.name.replace("splootd", "app.sploot.splootd", 1)


def desktop_entry(place: Place) -> str:
    """An entry as in freedesktop.org's Autostart and Desktop Entry specifications."""
    variables = [f"{name}={value}" for name, value in place.environment.items()]
    command = ["env", *variables, place.python, "-P", "-m", "sploot", "daemon", "start"]
    return (
        f"# Written by sploot {__version__} (sploot service install)\n"
        "[Desktop Entry]\nType=Application\nName=Sploot\n"
        "Comment=Every meme in a folder, in the library\n"
        f"Exec={_desktop_words(command)}\n"
        "Terminal=false\nNoDisplay=true\nX-GNOME-Autostart-enabled=true\n"
    )


def _filled(text: str, **values: str) -> str:
    for name, value in {"VERSION": __version__, **values}.items():
        text = text.replace(f"@{name}@", value)
    return text


def _escaped(text: str) -> str:
    """`text` without the specifiers that systemd would see in it, as in systemd.unit(5)."""
    return text.replace("%", "%%")


def _quoted(word: str) -> str:
    """`word` as one word: the path of a program, or an assignment; systemd.syntax(7)."""
    return '"' + _escaped(word).replace("\\", "\\\\").replace('"', '\\"') + '"'


def _desktop_words(words: Iterable[str]) -> str:
    """A command line of a desktop entry: each word in quotes, and its escapes escaped once more for the key."""
    quoted = (re.sub(r'([\\"`$])', r"\\\1", word).replace("\\", "\\\\").replace("%", "%%") for word in words)
    return " ".join(f'"{word}"' for word in quoted)


def _replaced(value: Any, marks: Mapping[str, str]) -> Any:
    """`value` of a property list with each text that is a mark replaced."""
    if isinstance(value, dict):
        return {key: _replaced(each, marks) for key, each in value.items()}
    if isinstance(value, list):
        return [_replaced(each, marks) for each in value]
    return marks.get(value, value) if isinstance(value, str) else value
