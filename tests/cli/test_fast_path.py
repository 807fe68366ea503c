"""The fast path and Typer call the same function with the same arguments."""

import functools
import inspect
import runpy
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sploot import fast_path, typer_runner
from sploot.commands import add
from sploot.typer_app import build_app

from splootd.protocol import ADD_PATHS_MAX

ROOT = Path(__file__).parent.parent.parent
WORDS = ["a", "b.png", "urgent", "7", "007", "100", "0", "-1", "x=y", "", "é", "keep", "two words"]
Call = tuple[str, dict[str, Any]]


@pytest.fixture(scope="module")
def calls() -> Iterator[list[Call]]:
    """Replace every function of the table by one that only records its arguments."""
    recorded: list[Call] = []
    build_app()  # evaluates the annotations, which the replacements copy
    with pytest.MonkeyPatch.context() as patch:
        for words in fast_path.TABLE:
            functions = import_module(f"sploot.commands.{words[0]}").COMMANDS
            name = " ".join(words)
            patch.setitem(functions, name, _record_calls(functions[name], recorded))
        yield recorded


def _record_calls(function: Any, recorded: list[Call]) -> Any:
    signature = inspect.signature(function)

    @functools.wraps(function)
    def record(*arguments: Any, **named: Any) -> int:
        bound = signature.bind(*arguments, **named)
        bound.apply_defaults()
        values = {name: list(value) if isinstance(value, tuple) else value for name, value in bound.arguments.items()}
        recorded.append((f"{function.__module__}.{function.__name__}", values))
        return 0

    return record


@st.composite
def command_lines(draw: st.DrawFn) -> list[str]:
    """Generate command command_lines with all options, odd values, and any order."""
    words = draw(st.sampled_from(sorted(fast_path.TABLE)))
    word = st.sampled_from(WORDS)
    option = st.sampled_from([*fast_path.TABLE[words].options, "--no-such"])
    flag = option.map(lambda each: [each])
    spaced = st.tuples(option, word).map(list)
    joined = st.tuples(option, word).map(lambda pair: [f"{pair[0]}={pair[1]}"])
    parts = draw(st.lists(st.one_of(word.map(lambda each: [each]), flag, spaced, joined), max_size=5))
    return [*words, *(each for part in parts for each in part)]


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


@pytest.mark.parametrize("words", fast_path.TABLE, ids=" ".join)
def test_every_option_of_the_table_is_parsed(words: tuple[str, ...]):
    values = {fast_path.FLAG: [], fast_path.NEGATED_FLAG: [], fast_path.NUMBER: ["7"]}
    command = fast_path.TABLE[words]
    positionals = ["7"] * command.positional_min
    for option, (_, kind) in command.options.items():
        assert fast_path.parse([*words, *positionals, option, *values.get(kind, ["word"])]) is not None


def test_the_table_is_generated_from_the_typer_app():
    """If it is not: python cli/generate_fast_path.py."""
    generate = runpy.run_path(str(ROOT / "cli" / "generate_fast_path.py"))["generate"]
    assert Path(fast_path.__file__).read_text() == generate()


@pytest.mark.parametrize(
    "command_line",
    [
        [],
        ["--help"],
        ["status", "-f"],
        ["search", "--open=1", "x"],
        ["add", "--wait", "x"],
        ["why", "a", "b"],
        ["nothing"],
        ["add", "--", "x"],
        ["config list"],
    ],
)
def test_other_command_lines_are_left_to_typer(command_line: list[str]):
    assert fast_path.parse(command_line) is None


def test_a_request_has_no_more_paths_than_the_daemon_accepts():
    assert add.PATHS_PER_REQUEST_MAX <= ADD_PATHS_MAX
