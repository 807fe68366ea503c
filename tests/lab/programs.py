"""The programs under test, as commands for the folder TESTS."""

import sys
from pathlib import Path

TESTS = Path(__file__).parent.parent
LIBRARY = [sys.executable, "-m", "lab.library"]
NEVER = 1_000_000  # items: more than any test waits for


def store_work(kind: str, folder: Path, seed: int = 0, items: int = NEVER) -> list[str]:
    """Return the command of `lab/store_work.py`."""
    return [sys.executable, "-m", "lab.store_work", kind, str(folder), str(seed), str(items)]
