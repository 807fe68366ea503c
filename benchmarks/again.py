"""`sploot add` of a folder that is known already: `python benchmarks/again.py [--files 100000] [--rounds 5]`.

Against `find -printf` (a look at every file), `rsync -an` and `rclone check --size-only` of the folder and its copy.
Every file is in the library, which is a real one but for reading pictures, before the folder is added again. A look has
ended when the daemon says so. Needs rsync and rclone to compare with them.
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

from door import asked
from homes import Home, home_in
from livekit import live_library
from paired import ratio, rounds, show, timed
from toy_library import END, picture

LOOK_S = 0.01  # between two looks at how far it is
WAIT_S = 1.0
FILES_A_FOLDER = 1_000


def make(folder: Path, count: int) -> None:
    """Small files, a thousand to a folder, all of one content: it is sent once, and known ever after."""
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


def add_and_look(home: Home, folder: Path) -> None:
    """The command returns while a large folder is still looked through: wait for the end of that."""
    number = home.json("add", "--once", str(folder))["add"]
    while not re.search(rb'"walking": ?false', asked(home, f"/v1/progress?add={number}")):
        time.sleep(LOOK_S)


def run(command: list[str]) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def compare(scratch: Path, library_url: str, files: int, times: int) -> None:
    folder, copy = scratch / "folder", scratch / "copy"
    make(folder, files)
    run(["cp", "-a", str(folder), str(copy)])
    with home_in(scratch / "home", SPLOOT_SERVER=library_url) as home:
        add = partial(add_and_look, home, folder)
        show(f"the first `add` of {files:,} files", f"{timed(add):.1f} s")
        while home.json("status")["items"]["ready"] < files:
            time.sleep(WAIT_S)
        commands = peers(folder, copy)
        contenders: dict[str, Callable[[], float]] = {"sploot": lambda: timed(add)}
        for peer, command in commands.items():
            contenders[peer] = partial(timed, partial(run, command))
        took = rounds(times, contenders)
        show("the daemon's memory after it", f"{home.json('status')['daemon']['rss_bytes'] / 1e6:.0f} MB")
    targets = {"find -printf": "to reach: at most 2 x", "rclone check": "to reach: under 1 x"}
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
