"""The help, the man pages and the completion: whole descriptions, choices, examples that can be typed, values."""

import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
from sploot.examples import EXAMPLES
from sploot.typer_app import GROUPS, SECTIONS, build_app
from temp_home import Home, home_in

ROOT = Path(__file__).parents[2]
APP: Any = typer.main.get_command(build_app())


def leaves() -> Iterator[tuple[str, Any]]:
    """Yield every command that can be typed."""
    for name, command in APP.commands.items():
        below = getattr(command, "commands", {})
        if not below or command.invoke_without_command:
            yield name, command
        yield from ((f"{name} {word}", each) for word, each in below.items())


LEAVES = dict(leaves())


def run(tmp_path: Path, *words: str, **variables: str) -> str:
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "SPLOOT_HOME": str(tmp_path / "s"), **variables}
    done = subprocess.run(
        [sys.executable, "-m", "sploot", *words], env=environ, capture_output=True, text=True, check=True
    )
    return done.stdout


@pytest.mark.parametrize("columns", ["40", "80"])
def test_the_help_lists_every_command_in_sorted_sections_with_its_whole_description(tmp_path: Path, columns: str):
    text = run(tmp_path, "--help", COLUMNS=columns)
    assert max(map(len, text.splitlines())) <= int(columns) + 2
    assert "..." not in text.replace("[ARGS]...", "")
    flat = " ".join(text.split())
    for title, names in SECTIONS.items():
        assert list(names) == sorted(names)
        assert f"{title}:" in text
        for name in names:
            assert f"{name} {' '.join(APP.commands[name].help.split())}" in flat
    assert set(GROUPS) == {name for name, command in APP.commands.items() if hasattr(command, "commands")}


@pytest.mark.parametrize("group", GROUPS)
def test_the_help_of_a_group_lists_all_its_commands(tmp_path: Path, group: str):
    listed = run(tmp_path, group, "--help").partition("\nCommands:\n")[2].partition("\n\n")[0]
    assert [line.split()[0] for line in listed.splitlines() if line[2] != " "] == sorted(APP.commands[group].commands)


@pytest.mark.parametrize("name", LEAVES)
def test_a_command_has_two_examples_that_can_be_typed(name: str):
    examples = EXAMPLES[name]
    assert len(set(examples)) == 2
    help_text = LEAVES[name].get_help(typer.Context(LEAVES[name]))
    for example in examples:
        assert example in help_text
        typed = re.sub(r"\$\(date.*?\)", "today", example).replace('"$(', "").replace(')"', "")
        words = shlex.split(re.split("[|<>&]", typed)[0].partition("sploot ")[2])
        words = words[2:] if words[0] == "--profile" else words
        words = [f"{word}=1" if word in ("--copy", "--open") else word for word in words]
        assert " ".join(words).startswith(name)
        LEAVES[name].make_context(name, words[len(name.split()) :])
    assert set(EXAMPLES) == set(LEAVES)


@pytest.mark.parametrize("name", LEAVES)
def test_an_option_shows_its_choices_or_what_it_takes(name: str):
    for each in LEAVES[name].params:
        assert each.param_type_name == "argument" or each.is_flag or each.metavar or each.type.name == "int range", each


@pytest.mark.parametrize(
    ("typed", "value"),
    [
        ("list --state f", "failed"),
        ("add --priority b", "background"),
        ("search --sort n", "newest"),
        ("logs --level w", "warning"),
        ("retry --error too", "too_large"),
        ("config get band", "bandwidth_limit"),
        ("config set band", "bandwidth_limit"),
    ],
)
def test_the_shell_completes_values(tmp_path: Path, typed: str, value: str):
    words = f"sploot {typed}"
    done = run(tmp_path, _SPLOOT_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=str(len(words.split()) - 1))
    assert done.split() == [value]
    assert not (tmp_path / "s").exists(), "a completion starts no daemon"


def test_the_shell_completes_watched_folders_of_a_running_daemon(tmp_path: Path):
    with home_in(tmp_path / "home", SPLOOT_SERVER="http://127.0.0.1:1") as home:
        folder = home.folder / "memes"
        folder.mkdir()
        home.ok("add", str(folder))
        variables = {"_SPLOOT_COMPLETE": "complete_bash", "COMP_CWORD": "3"}
        with_words = Home(home.folder, {**home.environ, **variables, "COMP_WORDS": "sploot folders remove /"})
        assert with_words.run().stdout.split() == [str(folder)]
        check_json_lists(home)


def check_json_lists(home: Home) -> None:
    """Every list is one array, and the long ones can be lines."""
    (home.folder / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    home.ok("add", "a.png")
    rows, lines = home.json("list"), home.ok("list", "--json-lines").splitlines()
    assert [row["path"] for row in rows] == [json.loads(line)["path"] for line in lines]
    assert set(rows[0]) == set(json.loads(lines[0]))
    assert (home.json("failed"), home.ok("failed", "--json-lines")) == ([], "")
    assert all(isinstance(home.json(*words), list) for words in (["folders"], ["config", "list"]))


def man_pages() -> dict[str, str]:
    spec = importlib.util.spec_from_file_location("generate_man_pages", ROOT / "cli" / "generate_man_pages.py")
    assert spec
    assert spec.loader
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    pages: dict[str, str] = program.pages()
    return pages


def test_the_man_pages_are_those_of_the_commands():
    written = {file.name: file.read_text() for file in (ROOT / "cli" / "man").glob("*.1")}
    assert written == man_pages(), "run: python cli/generate_man_pages.py"
    assert set(written) == {"sploot.1", *(f"sploot-{name}.1" for name in APP.commands)}


@pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not installed")
def test_groff_renders_the_man_pages_without_a_warning():
    for name, text in man_pages().items():
        done = subprocess.run(
            ["groff", "-man", "-Tutf8", "-ww"], input=text, capture_output=True, text=True, check=True
        )
        assert done.stderr == "", name
        assert "EXAMPLES" in re.sub(".\\x08", "", done.stdout) or name == "sploot.1"
