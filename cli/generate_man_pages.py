"""Generate the man pages from the Typer app: `python cli/generate_man_pages.py` writes cli/man/*.1.

A test compares the files with what this program would write. The wheel installs them into share/man/man1.
"""  # noqa: INP001 - a program beside the package, not part of it

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main
from sploot.examples import EXAMPLES
from sploot.typer_app import SECTIONS, build_app

from splootd import __version__

FOLDER = Path(__file__).parent / "man"


def pages() -> dict[str, str]:
    """Return the text of each page by its file name: one for `sploot`, and one for each of its commands."""
    app: Any = typer.main.get_command(build_app())
    written = {"sploot.1": "\n".join(_overview(app))}
    for name, command in app.commands.items():
        written[f"sploot-{name}.1"] = "\n".join(_page(name, command))
    return {name: f"{text}\n" for name, text in written.items()}


def _overview(app: Any) -> Iterator[str]:
    yield from _head("sploot", app.help)
    yield from (
        ".SH SYNOPSIS",
        ".B sploot",
        r"[\-\-profile NAME] COMMAND [ARGUMENTS]",
        ".SH DESCRIPTION",
        _escape(app.help),
    )
    for title, names in SECTIONS.items():
        yield f".SS {_escape(title)}"
        for name in names:
            yield from (".TP", f".BR sploot\\-{name} (1)", _escape(app.commands[name].help))
    yield ".SH OPTIONS"
    yield from _options(app)
    yield from (".SH EXIT STATUS", "0 done, 1 something was not found or failed, 2 wrong usage, 3 no daemon,")
    yield "4 you need to act, 124 time ran out, 130 interrupted."


def _page(name: str, command: Any) -> Iterator[str]:
    yield from _head(f"sploot-{name}", command.help)
    below: dict[str, Any] = getattr(command, "commands", {})
    runs_alone = not below or command.invoke_without_command
    all_commands = {
        **({name: command} if runs_alone else {}),
        **{f"{name} {word}": each for word, each in below.items()},
    }
    yield ".SH SYNOPSIS"
    for words, each in all_commands.items():
        arguments = " ".join(parameter.metavar or parameter.name.upper() for parameter in _arguments(each))
        yield from (f".B sploot {words}", f"[OPTIONS] {_escape(arguments)}".rstrip(), ".br")
    yield ".SH DESCRIPTION"
    for words, each in all_commands.items():
        if below:
            yield f".SS sploot {words}"
        yield _escape(each.help)
        yield from _options(each)
    yield ".SH EXAMPLES"
    for words in all_commands:
        for example in EXAMPLES[words]:
            yield from (".PP", ".nf", _escape(example), ".fi")
    yield from (".SH SEE ALSO", ".BR sploot (1)")


def _head(name: str, about: str) -> Iterator[str]:
    yield f'.TH {name.upper()} 1 "" "sploot {__version__}" "Sploot"'
    yield from (".SH NAME", f"{_escape(name)} \\- {_escape(about.partition(chr(10) * 2)[0]).rstrip('.')}")


def _arguments(command: Any) -> list[Any]:
    return [each for each in command.params if each.param_type_name == "argument"]


def _options(command: Any) -> Iterator[str]:
    for each in command.params:
        if each.param_type_name != "argument" and not each.hidden:
            names = ", ".join([*each.opts, *each.secondary_opts])
            value = "" if each.is_flag else f" {each.metavar or each.type.name.upper()}"
            yield from (".TP", f".B {_escape(names + value)}", _escape(each.help or ""))


def _escape(text: str) -> str:
    """Return text for roff (groff_char(7)): one line, literal backslashes and hyphens, no macro at its start."""
    line = " ".join(text.replace("\\", r"\e").replace("-", r"\-").split())
    return re.sub(r"^([.'])", r"\\&\1", line)


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for file in FOLDER.glob("*.1"):
        file.unlink()
    for name, text in pages().items():
        (FOLDER / name).write_text(text, "utf-8")
