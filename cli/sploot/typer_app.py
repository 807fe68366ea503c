"""Builds the Typer app from the command modules."""

import inspect
import os
import shutil
from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from sploot import typer_options
from sploot.examples import EXAMPLES
from splootd import describe_version

SECTIONS = {
    "Pictures": ("add", "favourite", "links", "search", "share", "tag", "templates", "undo"),
    "See what happens": ("failed", "list", "status", "top", "ui", "why"),
    "The queue": ("bump", "folders", "forget", "pause", "resume", "retry"),
    "Set up": ("config", "daemon", "login", "logout", "model", "service"),
    "Maintenance": ("backup", "doctor", "logs", "metrics", "restore"),
}
"""The commands in the sections of `sploot --help`. Each is a module of `sploot.commands`."""

COMMANDS = tuple(name for names in SECTIONS.values() for name in names)

GROUPS = {
    "folders": "List the watched folders and their health.",
    "tag": "Add and remove tags of pictures in the library.",
    "templates": "Name well-known pictures, and find all that show them.",
    "model": "Find pictures without words by a model of your choice.",
    "config": "Read and change the configuration.",
    "service": "Start the daemon at login.",
    "daemon": "Start and stop the daemon.",
}


class HelpWithSections(TyperGroup):
    """Lists the commands in sections, with their whole descriptions."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the sections of `sploot`; the commands of a group are one section."""
        is_root = ctx.parent is None
        sections = {title: [name for name in names if name in self.commands] for title, names in SECTIONS.items()}
        width = max(map(len, self.commands))
        for title, names in (sections if is_root else {"Commands": sorted(self.commands)}).items():
            if names:
                with formatter.section(title):
                    rows = [(f"{name:<{width}}", _describe(self.commands[name])) for name in names]
                    formatter.write_dl(rows)


def _describe(command: Any) -> str:
    """Return the first paragraph of a description, on one line."""
    return " ".join((command.help or "").partition("\n\n")[0].split())


def _format_examples(name: str) -> str:
    r"""Return the examples of a command. `\b` keeps their lines."""
    return "\b\nExamples:\n" + "\n".join(f"  {example}" for example in EXAMPLES[name])


HELP_COLUMNS_MIN, HELP_COLUMNS_MAX = 40, 80  # by default, the help is never narrower than 50

APP_SETTINGS: dict[str, Any] = {
    "name": "sploot",
    "cls": HelpWithSections,
    "help": "Every meme in a folder, in the library, searchable, exactly once.",
    "rich_markup_mode": None,
    "pretty_exceptions_enable": False,
    "context_settings": {
        "help_option_names": ["-h", "--help"],
        "terminal_width": min(HELP_COLUMNS_MAX, max(HELP_COLUMNS_MIN, shutil.get_terminal_size().columns)) - 2,
    },
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
            app.command(name, epilog=_format_examples(name))(functions[name])
    return app


def _build_group(name: str, functions: dict[str, Callable[..., int]]) -> typer.Typer:
    """Return a group with the given commands. The one with the name of the group runs without a subcommand."""
    has_default = name in functions
    group = typer.Typer(
        cls=HelpWithSections,
        help=GROUPS[name],
        epilog=_format_examples(name) if has_default else None,
        no_args_is_help=not has_default,
        invoke_without_command=has_default,
        rich_markup_mode=None,
    )
    for words, function in functions.items():
        if words == name:
            group.callback()(_as_callback(function))
        else:
            group.command(words.removeprefix(f"{name} "), epilog=_format_examples(words))(function)
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
        print(f"sploot {describe_version()}")
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
