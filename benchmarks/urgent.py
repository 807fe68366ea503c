"""What a person wants now, under a large backlog that is being sent: python benchmarks/urgent.py (`--help` has sizes).

For each urgent file, one after another: from the start of the command until a lane takes it, and until the library has
it; from the row's commit, which leaves out the command; and what a bare Python takes to start meanwhile, which says how
busy the machine is.
"""

import argparse
import json
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

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import memes
from homes import Home, home_in
from paired import show, timed

PAUSE_S = 0.15  # between two of them, on average


def events(home: Home, item: int) -> Iterator[dict[str, Any]]:
    """What happened to `item`, as it happens."""
    with socket.socket(socket.AF_UNIX) as door:
        door.connect(str(home.folder / "sploot" / "run" / "splootd.sock"))
        door.sendall(f"GET /v1/events?since=0&item={item} HTTP/1.1\r\nHost: sploot\r\n\r\n".encode())
        for line in door.makefile("rb"):
            if line.startswith(b"data: "):
                yield json.loads(line[6:])


def states(home: Home, item: int) -> dict[str, float]:
    """When `item` came to each state until the library had it, in seconds since the epoch."""
    at: dict[str, float] = {}
    for event in events(home, item):
        if event.get("item") == item and "state" in event:
            at.setdefault(event["state"], datetime.fromisoformat(event["at"]).timestamp())
            if event["state"] in ("embedding", "ready"):
                return at
    raise AssertionError("the stream ended")


def quantiles(seconds: list[float]) -> str:
    ordered = sorted(seconds)
    p50, p99 = ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.99)]
    return " ".join(f"{each * 1000:,.0f}" for each in (p50, p99, ordered[-1])) + " ms"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backlog", type=int, default=100_000)
    parser.add_argument("--urgent", type=int, default=200)
    parser.add_argument("--bytes", type=int, default=20_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, home_in(Path(folder) / "home") as home:
        scratch = Path(folder)
        memes.mass(scratch / "backlog", count=arguments.backlog, size_bytes=arguments.bytes, seed=4)
        wanted = memes.mass(scratch / "wanted", count=arguments.urgent, size_bytes=arguments.bytes, seed=5)
        home.ok("pause")
        home.ok("add", str(scratch / "backlog"))
        while home.json("status")["items"]["total"] < arguments.backlog:
            time.sleep(0.5)
        home.ok("resume")
        while not home.json("status")["items"]["embedding"]:
            time.sleep(0.1)
        times: list[tuple[float, dict[str, float]]] = []
        bare: list[float] = []
        for file in wanted:
            time.sleep(random.uniform(0, 2 * PAUSE_S))
            bare.append(timed(lambda: subprocess.run([sys.executable, "-c", "pass"], check=True)))
            asked_at = time.time()
            item = home.json("add", str(file), "--priority", "urgent")["paths"][0]["item"]
            times.append((asked_at, states(home, item)))
        left = home.json("status")["items"]["pending"]
        show(f"{len(times)} urgent files; waiting before and after", f"{arguments.backlog:,} {left:,}")
        show("median, 99th percentile, slowest:", "")
        show("from the command to its start", quantiles([at["uploading"] - asked for asked, at in times]), "p99 200 ms")
        show("a bare Python, meanwhile", quantiles(bare))
        show("from its row's commit to its start", quantiles([at["uploading"] - at["pending"] for _, at in times]))
        show("from its start until the library has it", quantiles([_had(at) - at["uploading"] for _, at in times]))


def _had(at: dict[str, float]) -> float:
    return min(at[state] for state in ("embedding", "ready") if state in at)


if __name__ == "__main__":
    main()
