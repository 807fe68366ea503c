"""Add a known folder again: `python benchmarks/rescan.py [--files 100000] [--rounds 5]`.

Compares `sploot add` with `find -printf` (a stat of every file), `rsync -an` and `rclone check --size-only` of the
folder and its copy. All files are in the library before the folder is added again; the server is a real one that does
not analyse images. A scan has ended when the daemon reports it. Needs rsync and rclone for the comparison.
"""

import argparse
import asyncio
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from daemon_http import get
from live_library import live_library
from side_by_side import ratio, rounds, show, timed
from temp_home import Home, home_in
from toy_library import END, picture

POLL_S = 0.01  # between two checks of the progress
WAIT_S = 1.0
FILES_A_FOLDER = 1_000


def make(folder: Path, count: int) -> None:
    """Write small files of one content, a thousand per folder: it is uploaded once."""
    for number in range(count):
        below = folder / f"{number // FILES_A_FOLDER:04}"
        below.mkdir(parents=True, exist_ok=True)
        (below / f"{number:07}.jpg").write_bytes(picture("the same " * 400) + END)


def peers(folder: Path, copy: Path) -> dict[str, list[str]]:
    commands = {
        "find -printf": ["find", f"{folder}/", "-printf", "%p %s %T@ %D %i\n"],
        "rsync -an": ["rsync", "-an", f"{folder}/", f"{copy}/"],
        "rclone check": ["rclone", "--config", "/dev/null", "check", "--size-only", str(folder), str(copy)],
    }
    return {name: command for name, command in commands.items() if shutil.which(command[0])}


def add_and_wait(home: Home, folder: Path) -> None:
    """Wait for the end of the scan: the command returns before it."""
    number = home.json("add", "--once", str(folder))["import_id"]
    while not re.search(rb'"scanning": ?false', get(home, f"/v1/progress?import_id={number}")):
        time.sleep(POLL_S)


def run(command: list[str]) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def compare(scratch: Path, library_url: str, files: int, times: int) -> None:
    folder, copy = scratch / "folder", scratch / "copy"
    make(folder, files)
    run(["cp", "-a", str(folder), str(copy)])
    with home_in(scratch / "home", SPLOOT_SERVER=library_url) as home:
        add = partial(add_and_wait, home, folder)
        show(f"the first `add` of {files:,} files", f"{timed(add):.1f} s")
        while home.json("status")["items"]["ready"] < files:
            time.sleep(WAIT_S)
        commands = peers(folder, copy)
        contenders: dict[str, Callable[[], float]] = {"sploot": lambda: timed(add)}
        for peer, command in commands.items():
            contenders[peer] = partial(timed, partial(run, command))
        took = rounds(times, contenders)
        show("the daemon's memory afterwards", f"{home.json('status')['daemon']['rss_bytes'] / 1e6:.0f} MB")
    targets = {"find -printf": "target: at most 2 x", "rclone check": "target: under 1 x"}
    for peer in commands:
        figure = f"{ratio(took['sploot'], took[peer]):.2f} x"
        show(f"the second, over `{peer}`", figure, targets.get(peer, ""))


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        async with live_library(Path(name, "library"), tcp=True) as library:
            await asyncio.to_thread(compare, Path(name), library.url, arguments.files, arguments.rounds)


if __name__ == "__main__":
    asyncio.run(main())
