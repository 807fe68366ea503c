"""Measure from a new file to its upload: `python benchmarks/watch_latency.py [--files 200]`.

Starts at the end of the settle time of a file in a watched folder and ends when a worker claims it.
"""

import argparse
import json
import random
import socket
import sys
import tempfile
import threading
import time
from datetime import datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import memes
from side_by_side import show
from temp_home import Home, home_in

SETTLE_S = 2.0
LIMIT_S = 120.0


def listen(home: Home, started: dict[str, float], count: int) -> None:
    """Record when each file was claimed, by name."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(LIMIT_S)
        connection.connect(str(home.folder / "sploot" / "run" / "splootd.sock"))
        connection.sendall(b"GET /v1/events?since=0 HTTP/1.1\r\nHost: sploot\r\n\r\n")
        for line in connection.makefile("rb"):
            event = json.loads(line[6:]) if line.startswith(b"data: ") else {}
            if event.get("state") == "uploading":
                started.setdefault(Path(event["path"]).name, datetime.fromisoformat(event["at"]).timestamp())
                if len(started) == count:
                    return


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=200)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, home_in(Path(name) / "home") as home:
        folder, written, started = Path(name) / "memes", dict[str, float](), dict[str, float]()
        folder.mkdir()
        sources = memes.mass(Path(name) / "made", count=arguments.files, size_bytes=100_000, seed=7)
        home.ok("add", str(folder))
        while home.json("status")["folders"][0]["state"] != "watching":
            time.sleep(0.1)
        time.sleep(3)  # until the watch is idle
        subscriber = threading.Thread(target=listen, args=(home, started, arguments.files))
        subscriber.start()
        for source in sources:
            time.sleep(random.uniform(0, 0.4))
            target = folder / source.name
            target.write_bytes(source.read_bytes())
            written[source.name] = target.stat().st_mtime
        subscriber.join()
        waits = sorted(started[name] - written[name] - SETTLE_S for name in written)
        p50, p99 = waits[len(waits) // 2], waits[int(len(waits) * 0.99)]
        show(
            f"{len(waits)} new files, after the settle time: median, 99th percentile, slowest",
            " ".join(f"{each * 1000:.0f}" for each in (p50, p99, waits[-1])) + " ms",
            "p99 100 ms",
        )


if __name__ == "__main__":
    main()
