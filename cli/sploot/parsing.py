"""Command lines of any kind, read by Typer."""

import typer

from sploot import exits
from sploot.commands import SETTINGS, app
from sploot.terminal import tell_error


def run(arguments: list[str]) -> int:
    """Run the command that `arguments` name; its exit code."""
    try:
        code = _only(arguments)(arguments, prog_name="sploot", standalone_mode=False)
    except typer.Abort:
        return exits.INTERRUPTED
    except SystemExit as ended:
        # Typer makes this of a pipe whose reader has left.
        if isinstance(ended.__context__, BrokenPipeError):
            raise BrokenPipeError from None
        raise
    except Exception as error:
        # Typer has no public name for the mistakes in usage that its parser finds.
        if not hasattr(error, "format_message"):
            raise
        tell_error(error.format_message(), "sploot --help")
        return exits.USAGE
    return code if isinstance(code, int) else exits.DONE


def _only(arguments: list[str]) -> typer.Typer:
    """The app with nothing but the command that is named, if one is: Typer takes its time over each that is there."""
    name = arguments[0] if arguments else ""
    commands = [each for each in app.registered_commands if name in (each.name, getattr(each.callback, "__name__", ""))]
    groups = [each for each in app.registered_groups if each.name == name]
    if not commands and not groups:
        return app
    narrow = typer.Typer(**SETTINGS)
    narrow.registered_callback = app.registered_callback
    narrow.registered_commands, narrow.registered_groups = commands, groups
    return narrow
