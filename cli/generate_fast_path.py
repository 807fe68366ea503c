"""Generate the table of `sploot.fast_path` from the Typer app: `python cli/generate_fast_path.py`.

A test compares the file with what this program would write.
"""  # noqa: INP001 - a program beside the package, not part of it

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main
from sploot import fast_path
from sploot.typer_app import build_app

FILE = Path(fast_path.__file__)
TABLE = re.compile(r"^(TABLE: .* = \{\n).*?^\}\n", re.MULTILINE | re.DOTALL)
KINDS = {"str": "TEXT", "int": "NUMBER", "int range": "NUMBER"}

# These wait for the user, follow the daemon, or are rare: Typer's import does not matter to them.
COMMANDS_OF_TYPER = re.compile(
    "top|login|logout|backup|restore|daemon .*|folders remove|service (un)?install|config set|tag .*|templates .*"
)
OPTIONS_OF_TYPER = {"--follow", "-f", "--wait", "--timeout", "--from", "--null", "--open", "--copy", "--reveal"}


def generate() -> str:
    """Return the text of `fast_path.py` with the table that follows from the Typer app."""
    app: Any = typer.main.get_command(build_app())
    rows = "".join(f"{tuple(name.split())}: {_row(command)},\n" for name, command in _walk(app, ""))
    text = TABLE.sub(lambda found: f"{found[1]}{rows}}}\n", FILE.read_text())
    command = [sys.executable, "-m", "ruff", "format", "--stdin-filename", str(FILE), "-"]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout  # noqa: S603 - ours


def _walk(group: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    for word, command in group.commands.items():
        name = f"{prefix}{word}"
        is_group = hasattr(command, "commands")
        if not COMMANDS_OF_TYPER.fullmatch(name) and (not is_group or command.invoke_without_command):
            yield name, command
        if is_group:
            yield from _walk(command, f"{name} ")


def _row(command: Any) -> str:
    options, positional = [], ""
    for each in command.params:
        kind = KINDS.get(each.type.name)
        if each.param_type_name == "argument":
            assert not positional, "the fast path reads one kind of positional arguments"
            kind = "ID" if kind == "NUMBER" else kind
            positional = f', ("{each.name}", {kind}), {int(each.required)}, {1 if each.nargs == 1 else "UNLIMITED"}'
        else:
            kind = "FLAG" if each.is_flag else "TEXTS" if each.multiple else kind
            options += [(name, each.name, kind) for name in each.opts]
            options += [(name, each.name, "NEGATED_FLAG") for name in each.secondary_opts]
    return (
        f"Command({{{', '.join(_option(*each) for each in options if each[0] not in OPTIONS_OF_TYPER)}}}{positional})"
    )


def _option(name: str, parameter: str, kind: str | None) -> str:
    assert kind is not None, f"the fast path has no kind for {name}"
    return f'"{name}": ("{parameter}", {kind})'


if __name__ == "__main__":
    FILE.write_text(generate())
