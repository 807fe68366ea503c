"""Parses the usual command lines without Typer, which takes longer to import than most commands take to run.

Any other command line, including every wrong one, is left to Typer. Both call the same functions; a test compares this
table with Typer's definitions.
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
    """A command: the function `module.function`, its options and its positional arguments.

    Each option is a parameter of the function and its kind. `positional` is the same for the positional arguments, of
    which there are `positional_min` to `positional_max`.
    """

    def __init__(
        self,
        module: str,
        function: str,
        positional: tuple[str, str] = ("", TEXT),
        positional_min: int = 0,
        positional_max: float = 0,
        **options: tuple[str, str],
    ) -> None:
        self.module = module
        self.function = function
        self.positional = positional
        self.positional_min = positional_min
        self.positional_max = positional_max
        self.options = {f"--{name.replace('_', '-')}": option for name, option in options.items()}

    def run(self, arguments: dict[str, Any]) -> int:
        module = __import__(self.module, fromlist=[self.function])
        code: int = getattr(module, self.function)(**arguments)
        return code

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


_JSON = ("as_json", FLAG)
_PACKAGE = "sploot.commands"
COMMANDS = {
    "status": Command(f"{_PACKAGE}.status", "status", exit_code=("exit_code", FLAG), json=_JSON),
    "add": Command(
        f"{_PACKAGE}.add",
        "add",
        ("paths", TEXT),
        1,
        UNLIMITED,
        once=("once", FLAG),
        priority=("priority", TEXT),
        tag=("tag", TEXTS),
        dry_run=("dry_run", FLAG),
        force=("force", FLAG),
        after_upload=("after_upload", TEXT),
        json=_JSON,
    ),
    "list": Command(
        f"{_PACKAGE}.list",
        "list_items",
        state=("state", TEXT),
        folder=("folder", TEXT),
        error=("error_code", TEXT),
        limit=("limit", NUMBER),
        json=_JSON,
    ),
    "why": Command(f"{_PACKAGE}.why", "why", ("target", TEXT), 1, 1, json=_JSON),
    "why --slow": Command(f"{_PACKAGE}.why", "why_slow", json=_JSON),
    "failed": Command(f"{_PACKAGE}.failed", "failed", json=_JSON),
    "search": Command(
        f"{_PACKAGE}.search", "search", ("terms", TEXT), 1, UNLIMITED, limit=("limit", NUMBER), json=_JSON
    ),
    "folders": Command(f"{_PACKAGE}.folders", "folders", json=_JSON),
    "retry": Command(
        f"{_PACKAGE}.retry",
        "retry",
        ("ids", ID),
        0,
        UNLIMITED,
        error=("error_code", TEXT),
        all=("retry_all", FLAG),
        json=_JSON,
    ),
    "bump": Command(f"{_PACKAGE}.bump", "bump", ("targets", TEXT), 1, UNLIMITED, json=_JSON),
    "forget": Command(f"{_PACKAGE}.forget", "forget", ("targets", TEXT), 1, UNLIMITED, json=_JSON),
    "pause": Command(f"{_PACKAGE}.pause", "pause"),
    "resume": Command(f"{_PACKAGE}.resume", "resume"),
    "metrics": Command(f"{_PACKAGE}.metrics", "metrics", json=_JSON),
    "logs": Command(f"{_PACKAGE}.logs", "logs", level=("level", TEXT)),
    "doctor": Command(
        f"{_PACKAGE}.doctor",
        "doctor",
        self_test=("self_test", FLAG),
        no_self_test=("self_test", NEGATED_FLAG),
        thorough=("thorough", FLAG),
        bundle=("bundle", TEXT),
        json=_JSON,
    ),
    "undo": Command(f"{_PACKAGE}.undo", "undo", ("ids", ID), 0, UNLIMITED, last=("last", FLAG), json=_JSON),
    "ui": Command(f"{_PACKAGE}.ui", "ui", no_open=("open_browser", NEGATED_FLAG), reset=("reset", FLAG), json=_JSON),
    "config get": Command(f"{_PACKAGE}.config", "get_value", ("key", TEXT), 1, 1, json=_JSON),
    "config list": Command(f"{_PACKAGE}.config", "list_values", json=_JSON),
    "config path": Command(f"{_PACKAGE}.config", "print_path"),
    "service status": Command(f"{_PACKAGE}.service", "status", json=_JSON),
}
_BY_NAME = {tuple(name.split()): command for name, command in COMMANDS.items()}


def parse(arguments: list[str]) -> Callable[[], int] | None:
    """Return a function that runs the command given by `arguments`, or None to leave them to Typer."""
    words = tuple(arguments[:2]) if tuple(arguments[:2]) in _BY_NAME else tuple(arguments[:1])
    command = _BY_NAME.get(words)
    parsed = command.parse(arguments[len(words) :]) if command else None
    if command is None or parsed is None:
        return None
    return lambda: command.run(parsed)
