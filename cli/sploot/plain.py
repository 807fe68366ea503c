"""Command lines as they are mostly typed, read without Typer, which takes longer to import than most commands take.

Whatever is not quite plain is left to Typer, the mistakes too. Both ways end in the same functions; a test holds this
table against Typer's own.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

FLAG, OFF, TEXT, TEXTS, NUMBER, ID = "flag", "off", "text", "texts", "number", "id"
NUMBER_CHARS_MAX = 2  # for larger ones there are limits, which Typer knows
ID_CHARS_MAX = 18
ANY = float("inf")


class Command:
    """The function `module.function`; its options by name, each a parameter and its kind; and what else may be named.

    `named` is the parameter for all that is no option and its kind, `at_least` and `at_most` how many there must be.
    """

    def __init__(
        self,
        module: str,
        function: str,
        named: tuple[str, str] = ("", TEXT),
        at_least: int = 0,
        at_most: float = 0,
        **options: tuple[str, str],
    ) -> None:
        self.module = module
        self.function = function
        self.named = named
        self.at_least = at_least
        self.at_most = at_most
        self.options = {f"--{name.replace('_', '-')}": option for name, option in options.items()}

    def run(self, given: dict[str, Any]) -> int:
        module = __import__(self.module, fromlist=[self.function])
        code: int = getattr(module, self.function)(**given)
        return code

    def read(self, words: list[str]) -> dict[str, Any] | None:
        """The arguments of the function that `words` are, or None when they are not plain."""
        given: dict[str, Any] = {}
        named: list[str] = []
        waiting = iter(words)
        for word in waiting:
            if not word.startswith("-"):
                named.append(word)
                continue
            option, equals, value = word.partition("=")
            parameter, kind = self.options.get(option, ("", ""))
            if kind in (FLAG, OFF) and not equals:
                given[parameter] = kind == FLAG
                continue
            if not equals:
                value = next(waiting, "-")
            if not kind or kind in (FLAG, OFF) or value.startswith("-"):
                return None
            if kind == NUMBER and not _is_number(value):
                return None
            if kind == TEXTS:
                given[parameter] = [*given.get(parameter, ()), value]
            else:
                given[parameter] = int(value) if kind == NUMBER else value
        if not self.at_least <= len(named) <= self.at_most:
            return None
        parameter, kind = self.named
        if kind == ID and not all(_is_number(word, ID_CHARS_MAX) for word in named):
            return None
        if named:
            values = list(map(int, named)) if kind == ID else named
            given[parameter] = values if self.at_most > 1 else values[0]
        return given


def _is_number(word: str, chars_max: int = NUMBER_CHARS_MAX) -> bool:
    return word.isascii() and word.isdecimal() and len(word) <= chars_max and int(word) > 0


_JSON = ("as_json", FLAG)
COMMANDS = {
    "status": Command("sploot.status", "status", exit_code=("exit_code", FLAG), json=_JSON),
    "add": Command(
        "sploot.adding",
        "add",
        ("paths", TEXT),
        1,
        ANY,
        once=("once", FLAG),
        priority=("priority", TEXT),
        tag=("tag", TEXTS),
        dry_run=("dry_run", FLAG),
        force=("force", FLAG),
        after=("after", TEXT),
        json=_JSON,
    ),
    "list": Command(
        "sploot.looking",
        "list_items",
        state=("state", TEXT),
        folder=("folder", TEXT),
        reason=("reason", TEXT),
        limit=("limit", NUMBER),
        json=_JSON,
    ),
    "why": Command("sploot.looking", "why", ("target", TEXT), 1, 1, json=_JSON),
    "why --slow": Command("sploot.numbers", "slow", json=_JSON),
    "failed": Command("sploot.looking", "failed", json=_JSON),
    "search": Command("sploot.looking", "search", ("words", TEXT), 1, ANY, limit=("limit", NUMBER), json=_JSON),
    "folders": Command("sploot.looking", "folders", json=_JSON),
    "retry": Command(
        "sploot.changing", "retry", ("ids", ID), 0, ANY, reason=("reason", TEXT), all=("every", FLAG), json=_JSON
    ),
    "bump": Command("sploot.changing", "bump", ("targets", TEXT), 1, ANY, json=_JSON),
    "forget": Command("sploot.changing", "forget", ("targets", TEXT), 1, ANY, json=_JSON),
    "pause": Command("sploot.changing", "pause"),
    "resume": Command("sploot.changing", "resume"),
    "metrics": Command("sploot.numbers", "metrics", json=_JSON),
    "logs": Command("sploot.logs", "logs", level=("level", TEXT)),
    "doctor": Command(
        "sploot.doctor",
        "doctor",
        self_test=("self_test", FLAG),
        no_self_test=("self_test", OFF),
        thorough=("thorough", FLAG),
        bundle=("bundle", TEXT),
        json=_JSON,
    ),
    "undo": Command("sploot.keeping", "undo", ("ids", ID), 0, ANY, last=("last", FLAG), json=_JSON),
    "ui": Command("sploot.ui", "ui", no_open=("is_opening", OFF), reset=("reset", FLAG), json=_JSON),
    "config get": Command("sploot.settings", "get", ("name", TEXT), 1, 1, json=_JSON),
    "config list": Command("sploot.settings", "list_all", json=_JSON),
    "config path": Command("sploot.settings", "path"),
    "service status": Command("sploot.service", "status", json=_JSON),
}
_BY_WORDS = {tuple(name.split()): command for name, command in COMMANDS.items()}


def read(arguments: list[str]) -> Callable[[], int] | None:
    """What runs the command that `arguments` name, or None when they are not plain."""
    words = tuple(arguments[:2]) if tuple(arguments[:2]) in _BY_WORDS else tuple(arguments[:1])
    command = _BY_WORDS.get(words)
    given = command.read(arguments[len(words) :]) if command else None
    if command is None or given is None:
        return None
    return lambda: command.run(given)
