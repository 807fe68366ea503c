"""Builds the Typer app from the command modules."""

import os
from collections.abc import Iterable
from importlib import import_module
from typing import Annotated, Any

import typer

from splootd import __version__

COMMANDS = (
    *("add", "status", "list", "failed", "why", "search", "top", "ui", "retry", "bump", "forget", "pause", "resume"),
    *("undo", "login", "logout", "doctor", "logs", "metrics", "backup", "restore"),
    *("folders", "config", "service", "daemon"),
)
"""Each is a module of `sploot.commands` with a function `register`, in the order of `sploot --help`."""

APP_SETTINGS: dict[str, Any] = {
    "name": "sploot",
    "help": "Every meme in a folder, in the library, searchable, exactly once.",
    "no_args_is_help": True,
    "rich_markup_mode": None,
    "pretty_exceptions_enable": False,
    "context_settings": {"help_option_names": ["-h", "--help"]},
}


def build_app(commands: Iterable[str] = COMMANDS) -> typer.Typer:
    """Return an app with the given commands. Only their modules are imported."""
    app = typer.Typer(**APP_SETTINGS)
    app.callback()(main)
    for name in commands:
        import_module(f"sploot.commands.{name}").register(app)
    return app


def _print_version(is_requested: bool) -> None:
    if is_requested:
        print(f"sploot {__version__}")
        raise typer.Exit


def _select_profile(name: str) -> None:
    if not name:
        return
    from splootd.app_dirs import validate_profile  # noqa: PLC0415 - only used with --profile
    from splootd.errors import ConfigError  # noqa: PLC0415 - as above

    try:
        os.environ["SPLOOT_PROFILE"] = validate_profile(name)  # a daemon started by this command inherits it
    except ConfigError as error:
        raise typer.BadParameter(f"{error.title}; {error.hint}") from None


def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
    profile: Annotated[
        str,
        typer.Option(
            metavar="NAME", callback=_select_profile, help="Use the daemon of this profile, with its own folders."
        ),
    ] = "",
) -> None:
    pass
