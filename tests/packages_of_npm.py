"""npm packages that tests use but the repository does not contain: installed once, into the user's cache folder."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

INSTALL_TIMEOUT_S = 100
CACHE_FOLDER = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sploot-tests"


def npm_package(name: str, version: str) -> Path:
    """Return the folder of a package without dependencies. Skip the test if npm or the package is unavailable."""
    home = CACHE_FOLDER / f"{name}-{version}"
    package = home / "node_modules" / name
    if not (package / "package.json").is_file():
        if shutil.which("npm") is None:
            pytest.skip("npm is not installed: apt-get install npm")
        home.mkdir(parents=True, exist_ok=True)
        command = ["npm", "install", "--prefix", str(home), "--no-audit", "--no-fund", "--silent", f"{name}@{version}"]
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=INSTALL_TIMEOUT_S)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
            pytest.skip(f"npm cannot install {name} {version}")
    return package
