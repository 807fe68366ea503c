"""`sploot config`: the one file, its keys, and where each value comes from."""

import json
import os
import re
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sploot import exits
from sploot.reach import restart_if_running
from sploot.terminal import complain, print_json
from splootd.config import KEYS, Config, Paths, checked_name, from_text, read_toml
from splootd.errors import ConfigError, RequestError

VARIABLES = {"server": "SPLOOT_SERVER", "log_level": "SPLOOT_LOG_LEVEL"}


def get(name: str, *, as_json: bool = False) -> int:
    with _usage():
        checked_name(name, "the command line")
    value = _loaded().value(name)
    if as_json:
        print_json(value)
    else:
        print(value)
    return exits.DONE


def list_all(*, as_json: bool = False) -> int:
    """Every key with its value, where the value comes from, what it may be and what it is for."""
    config, in_file = _loaded(), read_toml(_paths().config_file)
    rows = [
        {"key": name, "value": config.value(name), "source": _source(name, in_file), "allowed": key.allowed}
        for name, key in KEYS.items()
    ]
    if as_json:
        print_json(rows)
        return exits.DONE
    for row in rows:
        print(f"{row['key']:<16} {row['value']!s:<12} {row['source']:<24} {KEYS[row['key']].about}: {row['allowed']}")
    return exits.DONE


def path() -> int:
    print(_paths().config_file)
    return exits.DONE


def set_value(name: str, text: str) -> int:
    """Check and write one key, then have the daemon begin anew with it."""
    paths = _paths()
    with _usage():
        value = from_text(name, text)
    read_toml(paths.config_file)  # what is broken already must be mended by hand first
    write(paths.config_file, name, value)
    print(f"{name} is {value} now.")
    if os.environ.get(VARIABLES.get(name, "")):
        complain(f"note: the environment variable {VARIABLES[name]} overrules it")
    if restart_if_running(paths):
        complain("The daemon has begun anew with it.")
    return exits.DONE


def write(file: Path, name: str, value: Any) -> None:
    """Set one key in `file` and leave all other lines, comments included, as they are; ConfigError if it cannot be."""
    try:
        file = file.resolve()  # it may be a link into a folder under version control
        text = edited(file.read_text() if file.exists() else "", name, value)
        if tomllib.loads(text).get(name) != value:
            raise ConfigError(f"`{name}` stands in {file} in a way that only a person can change", "edit the file")
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = file.with_name(f"{file.name}.new")
        fresh.write_text(text)
        fresh.replace(file)
    except OSError as error:
        raise ConfigError(f"{file} cannot be written: {error.strerror}", "check the permissions") from error
    except ValueError as error:
        raise ConfigError(f"{file} cannot hold `{name}` = {value!r}: {error}", "edit the file") from error


def edited(text: str, name: str, value: Any) -> str:
    """`text` of a TOML file with one key set. TOML's basic strings and numbers are written as JSON's are."""
    line = f"{name} = {json.dumps(value, ensure_ascii=False)}"
    text, found = re.subn(rf"(?m)^[ \t]*{name}[ \t]*=.*$", lambda _: line, text, count=1)
    return text if found else f"{line}\n{text}"  # at the top, before any table


@contextmanager
def _usage() -> Iterator[None]:
    """A key or value that the command line got wrong is wrong usage, not a wrong configuration."""
    try:
        yield
    except ConfigError as error:
        raise RequestError("bad_setting", error.title, error.hint) from error


def _source(name: str, in_file: dict[str, Any]) -> str:
    if os.environ.get(VARIABLES.get(name, "")):
        return f"environment ({VARIABLES[name]})"
    return "file" if name in in_file else "default"


def _paths() -> Paths:
    return Paths.find(os.environ)


def _loaded() -> Config:
    return Config.load(_paths().config_file, os.environ)
