"""`sploot config`: read and change the configuration file."""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sploot import exit_codes
from sploot.daemon_connect import restart_if_running
from sploot.terminal import print_json, print_stderr
from splootd.config import CONFIG_KEYS, Config, Paths, get_key, parse_value, read_toml
from splootd.errors import ConfigError, RequestError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sploot.typer_options import JsonOption

ENVIRONMENT_VARIABLES = {"server": "SPLOOT_SERVER", "log_level": "SPLOOT_LOG_LEVEL"}


def get_value(key: str, *, as_json: JsonOption = False) -> int:
    """Print the value of one key."""
    with _as_usage_error():
        get_key(key, "the command line")
    value = _load_config().get(key)
    if as_json:
        print_json(value)
    else:
        print(value)
    return exit_codes.DONE


def list_values(*, as_json: JsonOption = False) -> int:
    """List all keys with their values and allowed values."""
    config, in_file = _load_config(), read_toml(_paths().config_file)
    rows = [
        {"key": name, "value": config.get(name), "source": _source(name, in_file), "allowed": key.allowed}
        for name, key in CONFIG_KEYS.items()
    ]
    if as_json:
        print_json(rows)
        return exit_codes.DONE
    width = max(map(len, CONFIG_KEYS))
    for row in rows:
        key = CONFIG_KEYS[row["key"]]
        print(f"{row['key']:<{width}} {row['value']!s:<12} {row['source']:<24} {key.description}: {key.allowed}")
    return exit_codes.DONE


def print_path() -> int:
    """Print the path of the configuration file."""
    print(_paths().config_file)
    return exit_codes.DONE


def set_value(key: str, value: str) -> int:
    """Change one key and restart a running daemon."""
    paths = _paths()
    with _as_usage_error():
        parsed = parse_value(key, value)
    read_toml(paths.config_file)  # an invalid file is not overwritten: the user must repair it first
    write_value(paths.config_file, key, parsed)
    print(f"{key} is now {parsed}.")
    if os.environ.get(ENVIRONMENT_VARIABLES.get(key, "")):
        print_stderr(f"note: the environment variable {ENVIRONMENT_VARIABLES[key]} overrides it")
    if restart_if_running(paths):
        print_stderr("The daemon restarted with the new setting.")
    return exit_codes.DONE


def write_value(file: Path, name: str, value: Any) -> None:
    """Set one key in `file` and keep all other lines, comments included; ConfigError if that is impossible."""
    try:
        # rename() would replace a symbolic link, for example into a dotfiles repository, by a plain file.
        file = file.resolve()
        text = set_key_in_toml(file.read_text() if file.exists() else "", name, value)
        # The edit works on lines, so a key in a table or inside a multi-line string defeats it: parse before replacing.
        if tomllib.loads(text).get(name) != value:
            raise ConfigError(f"`{name}` cannot be changed automatically in {file}", "edit the file")
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = file.with_name(f"{file.name}.new")
        temporary.write_text(text)
        temporary.replace(file)
    except OSError as error:
        raise ConfigError(f"{file} cannot be written: {error.strerror}", "check the permissions") from error
    except ValueError as error:
        raise ConfigError(f"{file} cannot hold `{name}` = {value!r}: {error}", "edit the file") from error


def set_key_in_toml(text: str, name: str, value: Any) -> str:
    """Return the TOML `text` with one key set. TOML's basic strings and numbers are written like those of JSON."""
    line = f"{name} = {json.dumps(value, ensure_ascii=False)}"
    text, replacements = re.subn(rf"(?m)^[ \t]*{name}[ \t]*=.*$", lambda _: line, text, count=1)
    return text if replacements else f"{line}\n{text}"  # before any table: a key after one would belong to it


@contextmanager
def _as_usage_error() -> Iterator[None]:
    """Report a wrong key or value on the command line as wrong usage, not as a wrong configuration."""
    try:
        yield
    except ConfigError as error:
        raise RequestError("bad_setting", error.title, error.hint) from error


def _source(name: str, in_file: dict[str, Any]) -> str:
    if os.environ.get(ENVIRONMENT_VARIABLES.get(name, "")):
        return f"environment ({ENVIRONMENT_VARIABLES[name]})"
    return "file" if name in in_file else "default"


def _paths() -> Paths:
    return Paths.from_environ(os.environ)


def _load_config() -> Config:
    return Config.load(_paths().config_file, os.environ)


COMMANDS = {"config get": get_value, "config set": set_value, "config list": list_values, "config path": print_path}
