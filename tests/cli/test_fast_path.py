"""The fast path and Typer call the same function with the same arguments."""

import inspect
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest
import typer.main
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sploot import fast_path, typer_app, typer_runner
from sploot.commands import add

from splootd.protocol import ADD_PATHS_MAX

APP = typer.main.get_command(typer_app.build_app())
WORDS = ["a", "b.png", "urgent", "7", "007", "100", "0", "-1", "x=y", "", "é", "keep", "two words"]
Call = tuple[str, dict[str, Any]]


@pytest.fixture(scope="module")
def calls() -> Iterator[list[Call]]:
    """Replace every function of the table by one that only records its arguments."""
    recorded: list[Call] = []
    with pytest.MonkeyPatch.context() as patch:
        for command in fast_path.COMMANDS.values():
            module = import_module(command.module)
            patch.setattr(module, command.function, _record_calls(getattr(module, command.function), recorded))
        yield recorded


def _record_calls(function: Any, recorded: list[Call]) -> Any:
    signature = inspect.signature(function)

    def record(*arguments: Any, **named: Any) -> int:
        bound = signature.bind(*arguments, **named)
        bound.apply_defaults()
        values = {name: list(value) if isinstance(value, tuple) else value for name, value in bound.arguments.items()}
        recorded.append((f"{function.__module__}.{function.__name__}", values))
        return 0

    return record


def options(name: str) -> dict[str, tuple[str, str]]:
    return fast_path.COMMANDS[name].options


@st.composite
def command_lines(draw: st.DrawFn) -> list[str]:
    """Generate command command_lines with all options, odd values, and any order."""
    name = draw(st.sampled_from(sorted(fast_path.COMMANDS)))
    word = st.sampled_from(WORDS)
    option = st.sampled_from([*options(name), "--no-such"])
    flag = option.map(lambda each: [each])
    spaced = st.tuples(option, word).map(list)
    joined = st.tuples(option, word).map(lambda pair: [f"{pair[0]}={pair[1]}"])
    parts = draw(st.lists(st.one_of(word.map(lambda each: [each]), flag, spaced, joined), max_size=5))
    return [*name.split(), *(each for part in parts for each in part)]


@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(command_lines())
def test_both_parsers_agree(calls: list[Call], command_line: list[str]):
    command = fast_path.parse(command_line)
    if command is None:
        return
    calls.clear()
    command()
    typer_runner.run(command_line)
    assert len(calls) == 2
    assert calls[0] == calls[1]


def _typer_command(name: str) -> Any:
    """Return Typer's command of that name, which may be a subcommand or include an option."""
    command: Any = APP
    for word in name.split():
        command = command if word.startswith("-") else command.commands[word]
    return command


@pytest.mark.parametrize("name", fast_path.COMMANDS)
def test_every_option_of_the_table_exists_in_typer_and_is_parsed(name: str, calls: list[Call]):
    words = {fast_path.FLAG: [], fast_path.NEGATED_FLAG: [], fast_path.NUMBER: ["7"]}
    typer_options = _typer_command(name).params
    known = {each for option in typer_options for each in (*option.opts, *option.secondary_opts)}
    positionals = ["7"] * fast_path.COMMANDS[name].positional_min
    for option, (_, kind) in options(name).items():
        assert option in known
        assert fast_path.parse([*name.split(), *positionals, option, *words.get(kind, ["word"])]) is not None


@pytest.mark.parametrize(
    "command_line",
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
def test_other_command_lines_are_left_to_typer(command_line: list[str]):
    assert fast_path.parse(command_line) is None


def test_a_request_has_no_more_paths_than_the_daemon_accepts():
    assert add.PATHS_PER_REQUEST_MAX <= ADD_PATHS_MAX
