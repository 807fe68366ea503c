"""Generates the manual pages from the Typer commands: python -m sploot.manual FOLDER. Format: man-pages(7)."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main

from sploot.typer_app import build_app
from splootd import __version__

FILES = """\
.TP
.I ~/.config/sploot/config.toml
the configuration; on macOS below ~/Library/Application Support/sploot
.TP
.I ~/.local/state/sploot/
the queue, the log, and the library on this machine"""

ENVIRONMENT = (
    ("SPLOOT_SERVER", "the library server; overrides the configuration"),
    ("SPLOOT_TOKEN", "the token for the server"),
    ("SPLOOT_LOG_LEVEL", "the lowest level in the log; overrides the configuration"),
    ("SPLOOT_HOME", "a folder for all files of Sploot"),
    ("SPLOOT_PROFILE", "the profile, like --profile"),
    ("NO_COLOR", "no colours"),
)
EXIT_CODES = (
    ("0", "done"),
    ("1", "done, but a file failed or was not found, or work is left (status --exit-code)"),
    ("2", "wrong usage"),
    ("3", "the daemon is not reachable or could not be started"),
    ("4", "action required: signed out, or the configuration is invalid"),
    ("70", "internal error"),
    ("75", "another daemon is already running"),
    ("78", "the daemon's configuration is invalid"),
    ("124", "--timeout ran out"),
    ("130", "interrupted"),
    ("141", "the reader of the output closed the pipe"),
)

_METAVARS = {"integer": "N", "integer range": "N", "float": "N", "float range": "N"}


def build_pages() -> dict[str, str]:
    """Return the pages by file name: one for the program and one for each command."""
    top: Any = typer.main.get_command(build_app())
    commands = dict(_walk_commands(top, ""))
    summaries = [(name.replace(" ", "-"), _summary(command)) for name, command in commands.items()]
    environment = _render_table("ENVIRONMENT", [(name, _escape_roff(about)) for name, about in ENVIRONMENT])
    pages_by_name = {"sploot.1": _render_page("sploot", top, (*_render_overview(summaries), *environment))}
    for name, command in commands.items():
        pages_by_name[f"sploot-{name.replace(' ', '-')}.1"] = _render_page(f"sploot {name}", command, ())
    return pages_by_name


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("usage: python -m sploot.manual FOLDER")
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in build_pages().items():
        (folder / name).write_text(text, "utf-8")


def _walk_commands(group: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    """Yield all commands below `group`, recursively, with their full names."""
    for name, command in sorted(group.commands.items()):
        yield f"{prefix}{name}", command
        if hasattr(command, "commands"):
            yield from _walk_commands(command, f"{prefix}{name} ")


def _render_page(name: str, command: Any, more: tuple[str, ...]) -> str:
    title = name.replace(" ", "-")
    lines = [
        f'.TH {title.upper()} 1 "" "sploot {__version__}" "Sploot"',
        ".SH NAME",
        f"{title} \\- {_escape_roff(_summary(command))}",
        ".SH SYNOPSIS",
        f".B {name}",
        *_escape_roff(_usage_line(command)).split("\n"),
        ".SH DESCRIPTION",
        _escape_roff(command.help or ""),
        *_render_table(
            "OPTIONS", [(_option_names(each), _escape_roff(each.help or "")) for each in _visible_options(command)]
        ),
        *more,
        *_render_table("EXIT STATUS", [(code, _escape_roff(meaning)) for code, meaning in EXIT_CODES]),
        *([".SH FILES", FILES, ".SH SEE ALSO", "each command has a page of its own"] if more else []),
        *([] if more else [".SH SEE ALSO", ".BR sploot (1)"]),
    ]
    return "\n".join(line for line in lines if line) + "\n"


def _render_overview(summaries: list[tuple[str, str]]) -> Iterator[str]:
    yield ".SH COMMANDS"
    for name, short in summaries:
        yield f".TP\n.BR sploot-{_escape_roff(name)} (1)\n{_escape_roff(short)}"


def _render_table(title: str, rows: Any) -> Iterator[str]:
    if rows:
        yield f".SH {title}"
    for name, meaning in rows:
        yield f".TP\n.B {name}\n{meaning}"


def _visible_options(command: Any) -> list[Any]:
    return [each for each in command.params if each.param_type_name == "option" and not each.hidden]


def _option_names(option: Any) -> str:
    names = ", ".join([*option.opts, *option.secondary_opts])
    metavar = "" if option.is_flag or option.count else option.metavar or _METAVARS.get(option.type.name, "TEXT")
    return _escape_roff(f"{names} {metavar}".strip())


def _usage_line(command: Any) -> str:
    words = ["[OPTIONS]"] if _visible_options(command) else []
    words += [each.metavar or each.name.upper() for each in command.params if each.param_type_name == "argument"]
    words += ["COMMAND ..."] if hasattr(command, "commands") else []
    return " ".join(words)


def _summary(command: Any) -> str:
    return (command.help or "").strip().partition("\n")[0].rstrip(".")


def _escape_roff(text: str) -> str:
    """Escape text for roff: hyphens would become dashes, and a leading dot or apostrophe starts a request."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return "\n".join(f"\\&{line}" if line[:1] in (".", "'") else line for line in text.splitlines())


if __name__ == "__main__":
    main()
