"""Installs a built wheel into new environments and runs the main job from `/`: python tests/installed.py WHEEL.

With the extra `local`, a folder of memes must become searchable. Without it, the status must name the package to
install.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

MEMES = Path(__file__).resolve().parent.parent / "examples" / "memes"
POLLS_MAX, POLL_S = 60, 0.5
QUERY = "tiny rodent on a wheel going nowhere"


def environment(folder: Path, requirement: str) -> Path:
    """Create a virtual environment with `requirement` and return its folder of programs."""
    venv.create(folder, with_pip=True)
    programs = folder / "bin"
    subprocess.run([programs / "pip", "install", "--quiet", requirement], check=True)
    return programs


def sploot(programs: Path, home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command from `/` in an empty home and print its output."""
    variables = {"PATH": os.environ["PATH"], "HOME": str(home), "SPLOOT_HOME": str(home / "sploot"), "LANG": "C.UTF-8"}
    done = subprocess.run(
        [programs / "sploot", *arguments],
        cwd="/",
        env=variables,
        text=True,
        capture_output=True,
        timeout=300,
        check=False,
    )
    print(f"$ sploot {' '.join(arguments)}\n{done.stdout}{done.stderr}[exit {done.returncode}]", flush=True)
    return done


def main_job(programs: Path, home: Path) -> None:
    memes = home / "memes"
    shutil.copytree(MEMES, memes)
    count = sum(1 for file in memes.iterdir() if file.suffix != ".md")
    try:
        assert sploot(programs, home, "add", str(memes), "--wait").returncode == 0
        status = json.loads(sploot(programs, home, "status", "--json").stdout)
        assert status["items"]["ready"] == count, status["items"]
        hits = json.loads(sploot(programs, home, "search", QUERY, "--json").stdout)
        assert hits, "nothing was found"
    finally:
        sploot(programs, home, "daemon", "stop")


def without_library(programs: Path, home: Path) -> None:
    memes = home / "memes"
    shutil.copytree(MEMES, memes)
    try:
        assert sploot(programs, home, "add", str(memes)).returncode == 0
        for _ in range(POLLS_MAX):  # the daemon replies before the local server reports the missing package
            status = sploot(programs, home, "status")
            if "is starting" not in status.stdout:
                break
            time.sleep(POLL_S)
        assert "pip install" in status.stdout, "the missing extra is not named"
    finally:
        sploot(programs, home, "daemon", "stop")


def main(wheel: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        for name, requirement, job in (
            ("complete", f"{wheel}[local]", main_job),
            ("small", str(wheel), without_library),
        ):
            folder = Path(scratch) / name
            home = folder / "home"
            home.mkdir(parents=True)
            print(f"== {name}", flush=True)
            job(environment(folder / "venv", requirement), home)
    print("the wheel does the main job from /")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
