"""Runs command lines with Typer."""

from typing import Any

import typer

from sploot import exit_codes
from sploot.terminal import print_error, print_stderr
from sploot.typer_app import COMMANDS, build_app


def run(arguments: list[str]) -> int:
    """Run the command given by `arguments` and return its exit code."""
    # Building all commands takes noticeable time, so the named one is built alone if there is one.
    app = build_app([name for name in COMMANDS if [name] == arguments[:1]] or COMMANDS)
    try:
        code = app(arguments, prog_name="sploot", standalone_mode=False)
    except typer.Abort:
        return exit_codes.INTERRUPTED
    except SystemExit as exit_error:
        # Typer turns EPIPE into sys.exit(1), although standalone_mode is off; `main` has a code of its own for it.
        if isinstance(exit_error.__context__, BrokenPipeError):
            raise BrokenPipeError from None
        raise
    except Exception as error:
        # Typer exports no base class for its usage errors; this method identifies them.
        if not hasattr(error, "format_message"):
            raise
        return _print_usage_error(error)
    return code if isinstance(code, int) else exit_codes.DONE


def _print_usage_error(error: Any) -> int:
    """Print a usage error of Typer, the usage of its command, and the commands that a group has.

    A group without a command is no error: its help is printed.
    """
    context = error.ctx
    if type(error).__name__ == "NoArgsIsHelpError":
        print(context.get_help())
        return exit_codes.DONE
    if context is None:
        print_error(error.format_message(), "sploot --help")
        return exit_codes.USAGE
    print_error(error.format_message(), None)
    print_stderr(context.get_usage())
    if commands := getattr(context.command, "commands", None):
        print_stderr(f"Commands: {', '.join(commands)}")
    print_stderr(f"Help: {context.command_path} --help")
    return exit_codes.USAGE
