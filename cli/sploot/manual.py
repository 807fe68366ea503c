"""The manual pages, from the commands themselves: python -m sploot.manual FOLDER. As man-pages(7) has them."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main

from sploot.commands import app
from splootd import __version__

FILES = """\
.TP
.I ~/.config/sploot/config.toml
the configuration; on macOS below ~/Library/Application Support/sploot
.TP
.I ~/.local/state/sploot/
the queue, the log, and the library on this machine"""

ENVIRONMENT = (
    ("SPLOOT_SERVER", "which library to send to; overrules the configuration"),
    ("SPLOOT_TOKEN", "the token to sign in with"),
    ("SPLOOT_LOG_LEVEL", "how much the log says; overrules the configuration"),
    ("SPLOOT_HOME", "a folder to keep everything under"),
    ("SPLOOT_PROFILE", "one of several daemons side by side, as --profile"),
    ("NO_COLOR", "no colours"),
)
EXITS = (
    ("0", "done"),
    ("1", "done, but something failed or was not found, or work is left (status --exit-code)"),
    ("2", "wrong usage"),
    ("3", "the daemon cannot be reached or started"),
    ("4", "it needs you: signed out, or the configuration is wrong"),
    ("70", "a fault of the program itself"),
    ("75", "another daemon already runs here"),
    ("78", "the daemon is configured wrongly"),
    ("124", "--timeout ran out"),
    ("130", "interrupted"),
    ("141", "whoever read the output has left"),
)

_KINDS = {"integer": "N", "integer range": "N", "float": "N", "float range": "N"}


def pages() -> dict[str, str]:
    """Every page by its file name: one for the program, one for each command."""
    top: Any = typer.main.get_command(app)
    commands = dict(_commands(top, ""))
    listed = [(name.replace(" ", "-"), _short(command)) for name, command in commands.items()]
    environment = _table("ENVIRONMENT", [(name, _escaped(about)) for name, about in ENVIRONMENT])
    found = {"sploot.1": _page("sploot", top, (*_overview(listed), *environment))}
    for name, command in commands.items():
        found[f"sploot-{name.replace(' ', '-')}.1"] = _page(f"sploot {name}", command, ())
    return found


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("usage: python -m sploot.manual FOLDER")
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (folder / name).write_text(text, "utf-8")


def _commands(group: Any, before: str) -> Iterator[tuple[str, Any]]:
    """The commands below `group`, and those below them, by the words that name them."""
    for name, command in sorted(group.commands.items()):
        yield f"{before}{name}", command
        if hasattr(command, "commands"):
            yield from _commands(command, f"{before}{name} ")


def _page(name: str, command: Any, more: tuple[str, ...]) -> str:
    title = name.replace(" ", "-")
    lines = [
        f'.TH {title.upper()} 1 "" "sploot {__version__}" "Sploot"',
        ".SH NAME",
        f"{title} \\- {_escaped(_short(command))}",
        ".SH SYNOPSIS",
        f".B {name}",
        *_escaped(_usage(command)).split("\n"),
        ".SH DESCRIPTION",
        _escaped(command.help or ""),
        *_table("OPTIONS", [(_name(each), _escaped(each.help or "")) for each in _options(command)]),
        *more,
        *_table("EXIT STATUS", [(code, _escaped(meaning)) for code, meaning in EXITS]),
        *([".SH FILES", FILES, ".SH SEE ALSO", "each command has a page of its own"] if more else []),
        *([] if more else [".SH SEE ALSO", ".BR sploot (1)"]),
    ]
    return "\n".join(line for line in lines if line) + "\n"


def _overview(listed: list[tuple[str, str]]) -> Iterator[str]:
    yield ".SH COMMANDS"
    for name, short in listed:
        yield f".TP\n.BR sploot-{_escaped(name)} (1)\n{_escaped(short)}"


def _table(title: str, rows: Any) -> Iterator[str]:
    if rows:
        yield f".SH {title}"
    for name, meaning in rows:
        yield f".TP\n.B {name}\n{meaning}"


def _options(command: Any) -> list[Any]:
    return [each for each in command.params if each.param_type_name == "option" and not each.hidden]


def _name(option: Any) -> str:
    names = ", ".join([*option.opts, *option.secondary_opts])
    metavar = "" if option.is_flag or option.count else option.metavar or _KINDS.get(option.type.name, "TEXT")
    return _escaped(f"{names} {metavar}".strip())


def _usage(command: Any) -> str:
    words = ["[OPTIONS]"] if _options(command) else []
    words += [each.metavar or each.name.upper() for each in command.params if each.param_type_name == "argument"]
    words += ["COMMAND ..."] if hasattr(command, "commands") else []
    return " ".join(words)


def _short(command: Any) -> str:
    return (command.help or "").strip().partition("\n")[0].rstrip(".")


def _escaped(text: str) -> str:
    """Text as roff takes it: a hyphen that is one, and no line that begins like a request."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return "\n".join(f"\\&{line}" if line[:1] in (".", "'") else line for line in text.splitlines())


if __name__ == "__main__":
    main()
