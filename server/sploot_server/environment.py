"""Environment variables of the command-line options: `--log-level` is `SPLOOT_SERVER_LOG_LEVEL`.

An option on the command line has precedence. Settings in the environment suit containers; and passwords must be there,
because every user of a machine can read the command line of a process.
"""

import argparse
import os
import shlex
import sys
from pathlib import Path

PREFIX = "SPLOOT_SERVER_"
SWITCH_VALUES = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False, "": False}


def default_data() -> Path:
    """Return the data folder of a server whose --data is not given: the system's place for the data of this user."""
    if os.geteuid() == 0:
        return Path("/var/lib/sploot-server")  # as in `templates/sploot-server.service`
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "sploot-server"
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "sploot-server"


def add_data_option(parser: argparse.ArgumentParser) -> None:
    """Add `--data`, the folder of the library."""
    parser.add_argument(
        "--data",
        type=Path,
        default=default_data(),
        metavar="DIR",
        help="folder of the library (default: ~/.local/share/sploot-server, or the system's place for data; "
        "for root: /var/lib/sploot-server)",
    )


def format_location(data: Path) -> str:
    """Return the option that a pasted command needs for this data folder; '' if it is the default."""
    default = Path(os.environ.get(f"{PREFIX}DATA") or default_data()).absolute()
    return "" if data == default else f" --data {shlex.quote(str(data))}"


def variable_name(action: argparse.Action) -> str | None:
    """Return the environment variable of an option; None for positional arguments, --help and --version."""
    if not action.option_strings or action.dest in ("help", "version"):
        return None
    return PREFIX + action.dest.upper()


def read_environment(parser: argparse.ArgumentParser, *, only: frozenset[str] | None = None) -> None:
    """Let the environment provide the options of `parser`, or those whose `dest` is in `only`.

    Exit with a usage error if a variable has an invalid value.
    """
    for action in parser._actions:  # noqa: SLF001 - argparse has no other list of its options
        variable = variable_name(action)
        if variable is None or (only is not None and action.dest not in only):
            continue
        text = os.environ.get(variable)
        if text is not None:
            parser.set_defaults(**{action.dest: _parse_value(parser, action, variable, text)})
        action.help = f"{action.help} [{variable}]"


def _parse_value(parser: argparse.ArgumentParser, action: argparse.Action, variable: str, text: str) -> object:
    convert = SWITCH_VALUES.__getitem__ if action.nargs == 0 else action.type or str
    try:
        value = convert(text)  # type: ignore[operator]  # no option has a type registered by name
    except (KeyError, ValueError, argparse.ArgumentTypeError):
        parser.error(f"{variable}={text} is not a valid value of {action.option_strings[-1]}")
    if action.choices is not None and value not in action.choices:
        parser.error(f"{variable}={text} is not one of {', '.join(map(str, action.choices))}")
    return value
