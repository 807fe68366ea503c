"""`sploot config`: read and change the configuration file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sploot import exit_codes
from sploot.daemon_connect import restart_if_running
from sploot.formatting import escape_unprintable, fold
from sploot.server_change import confirm_server_change, describe_server_mismatch
from sploot.terminal import get_columns, get_style, print_json, print_stderr
from splootd.config import (
    CONFIG_KEYS,
    ENVIRONMENT_VARIABLES,
    Config,
    Paths,
    get_key,
    parse_value,
    read_toml,
    write_value,
)
from splootd.errors import ConfigError, RequestError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sploot.typer_options import JsonOption, KeyArgument

INDENT = 4


def get_value(key: KeyArgument, *, as_json: JsonOption = False) -> int:
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
    style, columns = get_style(), get_columns()
    for row in rows:
        key = CONFIG_KEYS[row["key"]]
        value = style.bold(escape_unprintable(str(row["value"]))) if row["value"] != "" else "(empty)"
        source = "" if row["source"] == "default" else f"   from the {row['source']}"
        print("\n".join(fold(f"{row['key']} = {value}{source}", columns, indent=INDENT)))
        about = f"{'':{INDENT}}{key.description}; allowed: {key.allowed}"
        print("\n".join(fold(about, columns, indent=INDENT)))
    if mismatch := describe_server_mismatch(_paths()):
        print_stderr(f"note: {mismatch}")
    return exit_codes.DONE


def print_path() -> int:
    """Print the path of the configuration file."""
    print(_paths().config_file)
    return exit_codes.DONE


def set_value(key: KeyArgument, value: str) -> int:
    """Change one key and restart a running daemon."""
    paths = _paths()
    with _as_usage_error():
        parsed = parse_value(key, value)
    read_toml(paths.config_file)  # an invalid file is not overwritten: the user must repair it first
    if key == "server" and not confirm_server_change(paths, parsed):
        print("Nothing was changed.")
        return exit_codes.NOT_FOUND
    write_value(paths.config_file, key, parsed)
    print(f"{key} is now {'empty' if parsed == '' else parsed}.")
    if os.environ.get(ENVIRONMENT_VARIABLES.get(key, "")):
        print_stderr(f"note: the environment variable {ENVIRONMENT_VARIABLES[key]} overrides it")
    if restart_if_running(paths):
        print_stderr("The daemon restarted with the new setting.")
    return exit_codes.DONE


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
