"""Command lines as they are mostly typed, read without Typer, which takes longer to import than most commands take.

Whatever is not quite plain is left to Typer, the mistakes too. Both ways end in the same functions; a test holds this
table against Typer's own.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

FLAG, OFF, TEXT, TEXTS, NUMBER = "flag", "off", "text", "texts", "number"
NUMBER_CHARS_MAX = 2  # for larger ones there are limits, which Typer knows
ANY = float("inf")


class Command:
    """The function `module.function`; its options by name, each a parameter and its kind; and what else may be named.

    `named` is the parameter for all that is no option, `at_least` and `at_most` how many there must be.
    """

    def __init__(
        self,
        module: str,
        function: str,
        named: str = "",
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
        if named:
            given[self.named] = named if self.at_most > 1 else named[0]
        return given


def _is_number(word: str) -> bool:
    return word.isascii() and word.isdecimal() and len(word) <= NUMBER_CHARS_MAX and int(word) > 0


_JSON = ("as_json", FLAG)
COMMANDS = {
    "status": Command("sploot.status", "status", exit_code=("exit_code", FLAG), json=_JSON),
    "add": Command(
        "sploot.adding",
        "add",
        "paths",
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
    "why": Command("sploot.looking", "why", "target", 1, 1, json=_JSON),
    "failed": Command("sploot.looking", "failed", json=_JSON),
    "search": Command("sploot.looking", "search", "words", 1, ANY, limit=("limit", NUMBER), json=_JSON),
    "folders": Command("sploot.looking", "folders", json=_JSON),
    "retry": Command("sploot.changing", "retry", reason=("reason", TEXT), all=("every", FLAG), json=_JSON),
    "bump": Command("sploot.changing", "bump", "targets", 1, ANY, json=_JSON),
    "forget": Command("sploot.changing", "forget", "targets", 1, ANY, json=_JSON),
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
    "undo": Command("sploot.keeping", "undo", last=("last", FLAG), json=_JSON),
}


def read(arguments: list[str]) -> Callable[[], int] | None:
    """What runs the command that `arguments` name, or None when they are not plain."""
    command = COMMANDS.get(arguments[0]) if arguments else None
    given = command.read(arguments[1:]) if command else None
    if command is None or given is None:
        return None
    return lambda: command.run(given)
