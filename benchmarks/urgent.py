"""Measure urgent files under a large backlog: `python benchmarks/urgent.py` (`--help` lists the sizes).

For each urgent file, in sequence: from the start of the command until its `uploading` event, and until the server has
it; from the row of the file, which leaves out the command; and the start time of a bare Python meanwhile, which shows
the load of the machine. The files are old, so that they need not settle.
"""

import argparse
import contextlib
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import memes
from side_by_side import show, timed
from temp_home import Home, home_in

PAUSE_S = 0.15  # between two files, on average
AT_REST_S = 60


@contextlib.contextmanager
def subscribe(home: Home, folder: Path) -> Iterator[Iterator[tuple[float, dict[str, Any]]]]:
    """Yield the events of the files in `folder` from now on, with the time of arrival in seconds since the epoch."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(home.folder / "sploot" / "run" / "splootd.sock"))
        target = f"/v1/events?folder={quote(str(folder))}"
        connection.sendall(f"GET {target} HTTP/1.1\r\nHost: sploot\r\n\r\n".encode())
        lines = connection.makefile("rb")
        events = ((time.time(), json.loads(line[6:])) for line in lines if line.startswith(b"data: "))
        next(events)  # the response names the first event
        yield events


def story(home: Home, file: Path) -> dict[str, float]:
    """Return the times of the command, the row, the start event and the stored event of the urgent `file`."""
    command = home.command("add", str(file), "--priority", "urgent")
    with subscribe(home, file.parent) as events:
        at = {"command": time.time()}
        with subprocess.Popen(command, env=home.variables(), stdout=subprocess.DEVNULL) as adding:
            for received_at, event in events:
                match event.get("path") == str(file) and event.get("state"):
                    case "pending":
                        at.setdefault("row", datetime.fromisoformat(event["at"]).timestamp())
                    case "uploading":
                        at.setdefault("start", received_at)
                    case "embedding" | "ready":
                        at["there"] = received_at
                        break
        assert adding.returncode == 0
    return at


def quantiles(seconds: list[float]) -> str:
    ordered = sorted(seconds)
    p50, p99 = ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.99)]
    return " ".join(f"{each * 1000:,.0f}" for each in (p50, p99, ordered[-1])) + " ms"


def files(folder: Path, *, count: int, size_bytes: int, seed: int) -> list[Path]:
    """Create files with an old modification time."""
    paths = memes.mass(folder, count=count, size_bytes=size_bytes, seed=seed)
    then = time.time() - AT_REST_S
    for path in paths:
        os.utime(path, (then, then))
    return paths


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backlog", type=int, default=100_000)
    parser.add_argument("--urgent", type=int, default=200)
    parser.add_argument("--bytes", type=int, default=20_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, home_in(Path(folder) / "home") as home:
        scratch = Path(folder)
        files(scratch / "backlog", count=arguments.backlog, size_bytes=arguments.bytes, seed=4)
        wanted = files(scratch / "wanted", count=arguments.urgent, size_bytes=arguments.bytes, seed=5)
        home.ok("pause")
        home.ok("add", str(scratch / "backlog"))
        while home.json("status")["items"]["total"] < arguments.backlog:
            time.sleep(0.5)
        home.ok("resume")
        while not home.json("status")["items"]["embedding"]:
            time.sleep(0.1)
        stories: list[dict[str, float]] = []
        bare: list[float] = []
        for file in wanted:
            time.sleep(random.uniform(0, 2 * PAUSE_S))
            bare.append(timed(lambda: subprocess.run([sys.executable, "-c", "pass"], check=True)))
            stories.append(story(home, file))
        left = home.json("status")["items"]["pending"]
        show(f"{len(stories)} urgent files; waiting before and after", f"{arguments.backlog:,} {left:,}")
        show("median, 99th percentile, slowest:", "")
        show("from the command to its start", quantiles([at["start"] - at["command"] for at in stories]), "p99 200 ms")
        show("a bare Python, meanwhile", quantiles(bare))
        show("from its row to its start", quantiles([at["start"] - at["row"] for at in stories]))
        show("from its start until the library has it", quantiles([at["there"] - at["start"] for at in stories]))


if __name__ == "__main__":
    main()
