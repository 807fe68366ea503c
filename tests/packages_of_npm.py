"""Packages of npm that tests use and the project does not hold: fetched once, into a folder beside other caches."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

INSTALL_TIMEOUT_S = 100
FOLDER = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sploot-tests"


def npm_package(name: str, version: str) -> Path:
    """The folder of one package without dependencies. Skips where npm or the package cannot be had."""
    home = FOLDER / f"{name}-{version}"
    package = home / "node_modules" / name
    if not (package / "package.json").is_file():
        if shutil.which("npm") is None:
            pytest.skip("no npm: apt-get install npm")
        home.mkdir(parents=True, exist_ok=True)
        command = ["npm", "install", "--prefix", str(home), "--no-audit", "--no-fund", "--silent", f"{name}@{version}"]
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=INSTALL_TIMEOUT_S)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
            pytest.skip(f"npm cannot fetch {name} {version}")
    return package
