"""The generated manual pages and the shell completion cover every command."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer.main
from sploot import exit_codes, manual
from sploot.typer_app import build_app

from splootd import daemon

PAGES = manual.build_pages()
COMMANDS: dict[str, Any] = dict(manual._walk_commands(typer.main.get_command(build_app()), ""))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_page_with_all_its_options(name: str):
    page = PAGES[f"sploot-{name.replace(' ', '-')}.1"]
    assert f".B sploot {name}\n" in page
    for option in manual._visible_options(COMMANDS[name]):
        for spelling in option.opts:
            assert spelling.replace("-", "\\-") in page


def test_every_exit_code_is_documented():
    codes = {value for name, value in vars(exit_codes).items() if name.isupper()}
    codes |= {daemon.EXIT_ALREADY_RUNNING, daemon.EXIT_CONFIG}
    assert [int(code) for code, _ in manual.EXIT_CODES] == sorted(codes)


def test_the_overview_page_lists_every_command():
    for name in COMMANDS:
        assert f".BR sploot-{name.replace(' ', '-')} (1)" in PAGES["sploot.1"].replace("\\-", "-")


@pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not installed")
@pytest.mark.parametrize("name", ["sploot.1", "sploot-add.1", "sploot-list.1"])
def test_groff_accepts_the_pages(name: str):
    done = subprocess.run(
        ["groff", "-man", "-ww", "-z", "-Tutf8"], input=PAGES[name], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_generator_writes_the_pages_to_a_folder(tmp_path: Path):
    subprocess.run([sys.executable, "-m", "sploot.manual", str(tmp_path / "man")], check=True)
    assert {file.name for file in (tmp_path / "man").iterdir()} == set(PAGES)


@pytest.mark.parametrize(
    ("shell", "variables"),
    [
        ("bash", {"COMP_WORDS": "sploot serv", "COMP_CWORD": "1"}),
        ("zsh", {"_TYPER_COMPLETE_ARGS": "sploot serv"}),
        ("fish", {"_TYPER_COMPLETE_ARGS": "sploot serv", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}),
    ],
)
def test_each_shell_completes_a_command_and_starts_no_daemon(tmp_path: Path, shell: str, variables: dict[str, str]):
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "SPLOOT_HOME": str(tmp_path / "sploot")}
    done = subprocess.run(
        [sys.executable, "-m", "sploot"],
        env={**environ, **variables, "_SPLOOT_COMPLETE": f"complete_{shell}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "service" in done.stdout, done.stderr
    assert not (tmp_path / "sploot").exists()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_script_of_each_shell_is_printed(tmp_path: Path, shell: str):
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "_SPLOOT_COMPLETE": f"source_{shell}"}
    done = subprocess.run([sys.executable, "-m", "sploot"], env=environ, capture_output=True, text=True, check=False)
    assert "_SPLOOT_COMPLETE" in done.stdout, done.stderr


@pytest.mark.parametrize("program", ["sploot", "splootd", "sploot_server"])
def test_each_program_runs_as_a_module(program: str):
    done = subprocess.run([sys.executable, "-m", program, "--version"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().split()[-1][0].isdigit()
