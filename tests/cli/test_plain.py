"""The short way and Typer's way of reading a command line lead to the same function with the same arguments."""

import inspect
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest
import typer.main
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sploot import adding, commands, parsing, plain

from splootd.protocol import ADD_PATHS_MAX

APP = typer.main.get_command(commands.app)
WORDS = ["a", "b.png", "urgent", "7", "007", "100", "0", "-1", "x=y", "", "é", "keep", "two words"]
Call = tuple[str, dict[str, Any]]


@pytest.fixture(scope="module")
def calls() -> Iterator[list[Call]]:
    """Every function of the table notes how it was called and does nothing else."""
    noted: list[Call] = []
    with pytest.MonkeyPatch.context() as patch:
        for command in plain.COMMANDS.values():
            module = import_module(command.module)
            patch.setattr(module, command.function, _noting(getattr(module, command.function), noted))
        yield noted


def _noting(function: Any, noted: list[Call]) -> Any:
    signature = inspect.signature(function)

    def note(*arguments: Any, **named: Any) -> int:
        bound = signature.bind(*arguments, **named)
        bound.apply_defaults()
        values = {name: list(value) if isinstance(value, tuple) else value for name, value in bound.arguments.items()}
        noted.append((f"{function.__module__}.{function.__name__}", values))
        return 0

    return note


def options(name: str) -> dict[str, tuple[str, str]]:
    return plain.COMMANDS[name].options


@st.composite
def lines(draw: st.DrawFn) -> list[str]:
    """Command lines around those that are plain: with all options, odd values, and in any order."""
    name = draw(st.sampled_from(sorted(plain.COMMANDS)))
    word = st.sampled_from(WORDS)
    option = st.sampled_from([*options(name), "--no-such"])
    flag = option.map(lambda each: [each])
    spaced = st.tuples(option, word).map(list)
    joined = st.tuples(option, word).map(lambda pair: [f"{pair[0]}={pair[1]}"])
    parts = draw(st.lists(st.one_of(word.map(lambda each: [each]), flag, spaced, joined), max_size=5))
    return [*name.split(), *(each for part in parts for each in part)]


@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines())
def test_what_is_read_the_short_way_is_what_typer_reads(calls: list[Call], line: list[str]):
    command = plain.read(line)
    if command is None:
        return
    calls.clear()
    command()
    parsing.run(line)
    assert len(calls) == 2
    assert calls[0] == calls[1]


def _found(name: str) -> Any:
    """Typer's command of that name, which may be below another, or have an option to its name."""
    command: Any = APP
    for word in name.split():
        command = command if word.startswith("-") else command.commands[word]
    return command


@pytest.mark.parametrize("name", plain.COMMANDS)
def test_every_option_of_the_table_is_one_of_typers_and_is_read(name: str, calls: list[Call]):
    words = {plain.FLAG: [], plain.OFF: [], plain.NUMBER: ["7"]}
    typers = _found(name).params
    known = {each for option in typers for each in (*option.opts, *option.secondary_opts)}
    named = ["7"] * plain.COMMANDS[name].at_least
    for option, (_, kind) in options(name).items():
        assert option in known
        assert plain.read([*name.split(), *named, option, *words.get(kind, ["word"])]) is not None


@pytest.mark.parametrize(
    "line",
    [
        [],
        ["--help"],
        ["status", "-f"],
        ["add"],
        ["add", "--wait", "x"],
        ["why"],
        ["nothing"],
        ["add", "--", "x"],
        ["config list"],
    ],
)
def test_what_is_not_plain_is_left_to_typer(line: list[str]):
    assert plain.read(line) is None


def test_the_daemon_takes_as_many_paths_as_are_sent_at_once():
    assert adding.PATHS_MAX <= ADD_PATHS_MAX
