"""Build hook: record the commit that a wheel or sdist is built from, which `--version` shows."""

import subprocess
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

COMMIT_FILE = "splootd/commit"  # also in an sdist, whose wheel is built without a repository


class CommitHook(BuildHookInterface):
    """Adds COMMIT_FILE to what is built, if the source is a git checkout."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Write the commit to a file outside the source, and have it packed. An editable install has none."""
        commit = read_commit(Path(self.root))
        if version == "editable" or commit is None:
            return
        self._folder = tempfile.TemporaryDirectory()
        file = Path(self._folder.name, "commit")
        file.write_text(commit)
        build_data["force_include"][str(file)] = COMMIT_FILE


def read_commit(root: Path) -> str | None:
    """Return the abbreviated commit of a checkout; None outside of one."""
    if not (root / ".git").exists():
        return None
    command = ["git", "rev-parse", "--short=12", "HEAD"]
    try:
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
