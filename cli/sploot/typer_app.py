"""Builds the Typer app from the command modules."""

import inspect
import os
from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Annotated, Any

import typer

from sploot import typer_options
from splootd import __version__

COMMANDS = (
    *("add", "status", "list", "failed", "why", "search", "top", "ui", "retry", "bump", "forget", "pause", "resume"),
    *("undo", "login", "logout", "doctor", "logs", "metrics", "backup", "restore"),
    *("folders", "config", "service", "daemon"),
)
"""Each is a module of `sploot.commands`, in the order of `sploot --help`."""

GROUPS = {
    "folders": "List the watched folders and their health.",
    "config": "Read and change the configuration.",
    "service": "Start the daemon at login.",
    "daemon": "Start and stop the daemon.",
}

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
        functions: dict[str, Callable[..., int]] = import_module(f"sploot.commands.{name}").COMMANDS
        for function in functions.values():
            function.__annotations__ = inspect.get_annotations(function, locals=vars(typer_options), eval_str=True)
        if name in GROUPS:
            app.add_typer(_build_group(name, functions), name=name)
        else:
            app.command(name)(functions[name])
    return app


def _build_group(name: str, functions: dict[str, Callable[..., int]]) -> typer.Typer:
    """Return a group with the given commands. The one with the name of the group runs without a subcommand."""
    has_default = name in functions
    group = typer.Typer(
        help=GROUPS[name], no_args_is_help=not has_default, invoke_without_command=has_default, rich_markup_mode=None
    )
    for words, function in functions.items():
        if words == name:
            group.callback()(_as_callback(function))
        else:
            group.command(words.removeprefix(f"{name} "))(function)
    return group


def _as_callback(function: Callable[..., int]) -> Callable[..., int | None]:
    """Return a callback of a group that calls `function` unless a subcommand is given."""

    def callback(context: typer.Context, **options: Any) -> int | None:
        return None if context.invoked_subcommand else function(**options)

    context, _ = inspect.signature(callback).parameters.values()
    signature = inspect.signature(function)
    signature = signature.replace(parameters=[context, *signature.parameters.values()])
    callback.__signature__ = signature  # type: ignore[attr-defined]  # read by inspect.signature()
    return callback


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
