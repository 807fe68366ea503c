"""The shell completion covers the commands, and every program runs as a module."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


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
