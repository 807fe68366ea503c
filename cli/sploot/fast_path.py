"""Parses the usual command lines without Typer, which takes longer to import than most commands take to run.

Any other command line, including every wrong one, is left to Typer. Both call the same functions. The table is
generated from the Typer app: `python cli/generate_fast_path.py`.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

FLAG, NEGATED_FLAG, TEXT, TEXTS, NUMBER, ID = "flag", "negated flag", "text", "texts", "number", "id"
NUMBER_CHARS_MAX = 2  # larger numbers may exceed a limit that only Typer checks
ID_CHARS_MAX = 18
UNLIMITED = float("inf")


class Command:
    """The arguments of a command: each is a parameter of its function and a kind.

    There are `positional_min` to `positional_max` positional arguments.
    """

    def __init__(
        self,
        options: dict[str, tuple[str, str]],
        positional: tuple[str, str] = ("", TEXT),
        positional_min: int = 0,
        positional_max: float = 0,
    ) -> None:
        self.options = options
        self.positional = positional
        self.positional_min = positional_min
        self.positional_max = positional_max

    def parse(self, words: list[str]) -> dict[str, Any] | None:
        """Return the arguments of the function, or None to leave `words` to Typer."""
        arguments: dict[str, Any] = {}
        positionals: list[str] = []
        remaining = iter(words)
        for word in remaining:
            if not word.startswith("-"):
                positionals.append(word)
                continue
            option, equals, value = word.partition("=")
            parameter, kind = self.options.get(option, ("", ""))
            if kind in (FLAG, NEGATED_FLAG) and not equals:
                arguments[parameter] = kind == FLAG
                continue
            if not equals:
                value = next(remaining, "-")  # a missing value is an error of usage, so it is left to Typer below
            if not kind or kind in (FLAG, NEGATED_FLAG) or value.startswith("-"):
                return None
            if kind == NUMBER and not _is_number(value):
                return None
            if kind == TEXTS:
                arguments[parameter] = [*arguments.get(parameter, ()), value]
            else:
                arguments[parameter] = int(value) if kind == NUMBER else value
        if not self.positional_min <= len(positionals) <= self.positional_max:
            return None
        parameter, kind = self.positional
        if kind == ID and not all(_is_number(word, ID_CHARS_MAX) for word in positionals):
            return None
        if positionals:
            values = list(map(int, positionals)) if kind == ID else positionals
            arguments[parameter] = values if self.positional_max > 1 else values[0]
        return arguments


def _is_number(word: str, chars_max: int = NUMBER_CHARS_MAX) -> bool:
    return word.isascii() and word.isdecimal() and len(word) <= chars_max and int(word) > 0


TABLE: dict[tuple[str, ...], Command] = {
    ("add",): Command(
        {
            "--once": ("once", FLAG),
            "--priority": ("priority", TEXT),
            "--tag": ("tag", TEXTS),
            "--dry-run": ("dry_run", FLAG),
            "--force": ("force", FLAG),
            "--after-upload": ("after_upload", TEXT),
            "--json": ("as_json", FLAG),
        },
        ("paths", TEXT),
        0,
        UNLIMITED,
    ),
    ("favourite",): Command(
        {"--remove": ("remove", FLAG), "--json": ("as_json", FLAG)}, ("targets", TEXT), 1, UNLIMITED
    ),
    ("links",): Command({"--json": ("as_json", FLAG)}),
    ("search",): Command(
        {
            "--limit": ("limit", NUMBER),
            "--tag": ("tag", TEXT),
            "--favourite": ("favourite", FLAG),
            "--sort": ("sort", TEXT),
            "--preview": ("preview", FLAG),
            "--scores": ("scores", FLAG),
            "--links": ("links", FLAG),
            "--json": ("as_json", FLAG),
        },
        ("terms", TEXT),
        0,
        UNLIMITED,
    ),
    ("share",): Command({"--stop": ("stop", FLAG), "--json": ("as_json", FLAG)}, ("targets", TEXT), 1, UNLIMITED),
    ("undo",): Command({"--last": ("last", FLAG), "--json": ("as_json", FLAG)}, ("ids", ID), 0, UNLIMITED),
    ("failed",): Command({"--json": ("as_json", FLAG), "--json-lines": ("as_json_lines", FLAG)}),
    ("list",): Command(
        {
            "--state": ("state", TEXT),
            "--folder": ("folder", TEXT),
            "--error": ("error_code", TEXT),
            "--limit": ("limit", NUMBER),
            "--json": ("as_json", FLAG),
            "--json-lines": ("as_json_lines", FLAG),
        }
    ),
    ("status",): Command({"--exit-code": ("exit_code", FLAG), "--json": ("as_json", FLAG)}),
    ("ui",): Command(
        {"--no-open": ("open_browser", NEGATED_FLAG), "--reset": ("reset", FLAG), "--json": ("as_json", FLAG)}
    ),
    ("why",): Command({"--slow": ("slow", FLAG), "--json": ("as_json", FLAG)}, ("target", TEXT), 0, 1),
    ("bump",): Command({"--json": ("as_json", FLAG)}, ("targets", TEXT), 1, UNLIMITED),
    ("forget",): Command({"--json": ("as_json", FLAG)}, ("targets", TEXT), 1, UNLIMITED),
    ("pause",): Command({}),
    ("resume",): Command({}),
    ("retry",): Command(
        {"--error": ("error_code", TEXT), "--all": ("retry_all", FLAG), "--json": ("as_json", FLAG)},
        ("ids", ID),
        0,
        UNLIMITED,
    ),
    ("doctor",): Command(
        {
            "--self-test": ("self_test", FLAG),
            "--no-self-test": ("self_test", NEGATED_FLAG),
            "--thorough": ("thorough", FLAG),
            "--bundle": ("bundle", TEXT),
            "--verbose": ("verbose", FLAG),
            "-v": ("verbose", FLAG),
            "--json": ("as_json", FLAG),
        }
    ),
    ("logs",): Command({"--level": ("level", TEXT)}),
    ("metrics",): Command({"--json": ("as_json", FLAG)}),
    ("folders",): Command({"--json": ("as_json", FLAG)}),
    ("config", "get"): Command({"--json": ("as_json", FLAG)}, ("key", TEXT), 1, 1),
    ("config", "list"): Command({"--json": ("as_json", FLAG)}),
    ("config", "path"): Command({}),
    ("model", "add"): Command({"--yes": ("yes", FLAG), "--sha256": ("sha256", TEXT)}, ("source", TEXT), 1, 1),
    ("model", "list"): Command({"--json": ("as_json", FLAG)}),
    ("model", "remove"): Command({}, ("name", TEXT), 1, 1),
    ("service", "status"): Command({"--json": ("as_json", FLAG)}),
}


def parse(arguments: list[str]) -> Callable[[], int] | None:
    """Return a function that runs the command given by `arguments`, or None to leave them to Typer."""
    words = tuple(arguments[:2]) if tuple(arguments[:2]) in TABLE else tuple(arguments[:1])
    parsed = TABLE[words].parse(arguments[len(words) :]) if words in TABLE else None
    return None if parsed is None else lambda: _run(words, parsed)


def _run(words: tuple[str, ...], arguments: dict[str, Any]) -> int:
    module = __import__(f"sploot.commands.{words[0]}", fromlist=["COMMANDS"])
    code: int = module.COMMANDS[" ".join(words)](**arguments)
    return code
