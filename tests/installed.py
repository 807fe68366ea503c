"""Install a built wheel into a new environment and run it from `/`: python tests/installed.py WHEEL [--bare].

Without the extra `local`, the status must name the package to install. With it, which `--bare` leaves out, a folder of
memes must become searchable.
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


def install(environment: Path, requirement: str) -> None:
    """Install with the pip of this Python, which takes less time than another pip in the environment."""
    pip = [sys.executable, "-m", "pip", "--python", str(environment)]
    subprocess.run([*pip, "install", "--quiet", requirement], check=True)


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


def main(wheel: Path, *, is_bare: bool) -> None:
    jobs = (
        [(str(wheel), without_library)] if is_bare else [(str(wheel), without_library), (f"{wheel}[local]", main_job)]
    )
    with tempfile.TemporaryDirectory() as scratch:
        environment = Path(scratch) / "venv"
        venv.create(environment)
        for requirement, job in jobs:
            print(f"== {requirement}", flush=True)
            install(environment, requirement)
            home = Path(scratch) / job.__name__
            home.mkdir()
            job(environment / "bin", home)
    print("the wheel works from /")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), is_bare="--bare" in sys.argv)
