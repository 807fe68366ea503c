"""Each benchmark can be started: what it takes from the programs and the tests is there."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent / "benchmarks"
COMMANDS = sorted(file.name for file in FOLDER.glob("*.py") if "ArgumentParser(" in file.read_text())


@pytest.mark.parametrize("name", COMMANDS)
def test_a_benchmark_starts_and_explains_its_options(name: str):
    done = subprocess.run([sys.executable, FOLDER / name, "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "usage:" in done.stdout


def test_a_library_of_synthetic_assets_has_all_that_the_schema_demands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    importlib.import_module("synthetic_assets").fill(tmp_path, 3)
