"""The README says what the programs can do: every command, option, key and exit code, and none that there is not."""

import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import pytest
import typer
from sploot import exit_codes
from sploot.typer_app import build_app

from splootd import app_dirs, config, daemon

README = (Path(__file__).parent.parent / "README.md").read_text()
EVERYWHERE = {"--help", "-h", "--json"}  # said once, for all commands
OPTION = re.compile(r"(?<![\w-])--?[a-z][a-z-]*")


def section(title: str) -> str:
    """What stands below the heading `title`."""
    found = re.search(rf"^## {title}$(.*?)(?=^## |\Z)", README, re.MULTILINE | re.DOTALL)
    assert found, f"README.md has no part called {title}"
    return found[1]


def rows(title: str) -> list[str]:
    """The rows of the table below the heading `title`, with the bars inside its cells as they are read."""
    lines = [line for line in section(title).splitlines() if line.startswith("|")]
    return [line.replace(r"\|", "¦") for line in lines[2:]]


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Every command that can be typed, as its words and what Typer knows of it."""
    below: Mapping[str, Any] = getattr(command, "commands", {})
    if path and (not below or command.invoke_without_command):
        yield " ".join(path), command
    for name, each in below.items():
        yield from commands(each, (*path, name))


def named(row: str) -> set[str]:
    """The commands whose row this is."""
    found = set()
    for written in re.findall(r"`sploot ([^`]*)`", row.split("|")[1]):
        words = itertools.takewhile(lambda word: re.fullmatch(r"[a-z¦]+", word), written.split())
        found |= {" ".join(each) for each in itertools.product(*(word.split("¦") for word in words))}
    return found


def options(command: Any) -> set[str]:
    return {name for each in command.params for name in (*each.opts, *each.secondary_opts) if name.startswith("-")}


ROOT = typer.main.get_command(build_app())
COMMANDS = dict(commands(ROOT))
ROWS = {name: row for row in rows("Commands") for name in named(row)}


def test_every_command_has_its_row_and_every_row_its_command() -> None:
    assert set(ROWS) == set(COMMANDS)


@pytest.mark.parametrize("row", dict.fromkeys(ROWS.values()))
def test_a_row_names_the_options_of_its_commands_and_no_others(row: str) -> None:
    there_are = set().union(*(options(COMMANDS[name]) for name in named(row) if name in COMMANDS))
    assert set(OPTION.findall(row)) - EVERYWHERE == there_are - EVERYWHERE


def test_what_every_command_takes_is_said_once() -> None:
    below_the_table = section("Commands").partition("\n\nCommands that")[2].partition("\n\n")[0]
    assert set(OPTION.findall(below_the_table)) == options(ROOT) | EVERYWHERE


def test_no_command_is_mentioned_that_there_is_not() -> None:
    code = re.findall(r"^```sh\n(.*?)^```", README, re.MULTILINE | re.DOTALL) + re.findall(r"`([^`\n]+)`", README)
    mentioned = {word for text in code for word in re.findall(r"\bsploot ([a-z]+)", text)}
    assert mentioned <= {name.split()[0] for name in COMMANDS}


def test_the_exit_codes_are_those_of_the_programs() -> None:
    (text,) = re.findall(r"^Exit codes:.*?(?=\n\n)", section("Commands"), re.MULTILINE | re.DOTALL)
    there_are = {value for name, value in vars(exit_codes).items() if name.isupper()}
    there_are |= {daemon.EXIT_ALREADY_RUNNING, daemon.EXIT_CONFIG}
    assert {int(code) for code in re.findall(r"(?<![\w.])(\d+)(?= )", text)} == there_are


@pytest.mark.parametrize("name", config.CONFIG_KEYS)
def test_every_key_of_the_configuration_has_its_row(name: str) -> None:
    """A failure shows the row as it should be."""
    key, (value,) = config.CONFIG_KEYS[name], (each.default for each in fields(config.Config) if each.name == name)
    assert value is not MISSING
    default = "none" if value == "" else f"`{value}`"
    assert f"| `{name}` | {key.description}; {key.allowed} (default: {default}) |" in rows("Configuration")


def test_no_other_key_is_mentioned() -> None:
    assert {row.split("`")[1] for row in rows("Configuration")} == set(config.CONFIG_KEYS)


def test_the_variables_of_the_environment_are_those_that_are_read() -> None:
    pages = (config, app_dirs)
    read = {name for page in pages for name in re.findall(r"SPLOOT_[A-Z_]+", Path(page.__file__).read_text())}
    assert set(re.findall(r"SPLOOT_[A-Z_]+", section("Configuration"))) == read
