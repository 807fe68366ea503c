"""Measure the main job: `python benchmarks/main_job.py` (`--help` lists the sizes).

Runs the real programs in an empty home under a scratch folder and prints what a user notices: the time until `add`
returns and the first upload starts, the time until everything is searchable, the cost of `status` with few and with
many items, the daemon's memory, and the time in which the store saves and restores a thousand items. Short times are
measured several times and the fastest counts, so that other load on the machine is left out.
"""

import argparse
import asyncio
import json
import os
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import memes
from store_fixtures import open_store, source, version
from temp_home import Home, home_in

from splootd.core.item import FoundFile

ROUNDS = 15
ADDS = 5


def ms(seconds: float) -> str:
    return f"{seconds * 1000:,.0f} ms"


def timed(action: Callable[[], Any]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def first_event(home: Home, state: str) -> dict[str, Any]:
    """Return the first event with this state from the event stream."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(home.folder / "sploot" / "run" / "splootd.sock"))
        connection.sendall(b"GET /v1/events?since=0 HTTP/1.1\r\nHost: sploot\r\n\r\n")
        for line in connection.makefile("rb"):
            event = json.loads(line[6:]) if line.startswith(b"data: ") else {}
            if event.get("state") == state:
                return dict(event)
    raise AssertionError("the stream ended")


def peak_rss_mb(home: Home) -> float:
    lines = Path(f"/proc/{home.daemon_pid()}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def show(what: str, figure: str) -> None:
    print(f"{what:<78} {figure}", flush=True)


def images(scratch: Path, count: int) -> None:
    """Upload real captioned images until they are searchable."""
    folder = scratch / "images"
    memes.make(folder, count=count, seed=1)
    cold = [cold_add(scratch / f"cold {number}", folder) for number in range(ADDS)]
    show(f"`add` of {count:,} images into an empty home, daemon not running", ms(min(cold)))
    warm = [warm_add(scratch / f"warm {number}", folder) for number in range(ADDS)]
    show(f"`add` of {count:,} images into an empty home, daemon running", ms(min(took for took, _ in warm)))
    show("  from the start of the command to the first upload", ms(min(first for _, first in warm)))
    with home_in(scratch / "warm") as home:
        home.ok("status")
        until_up(home)
        took_s = timed(lambda: home.ok("add", str(folder), "--wait", timeout_s=3600))
        show(f"  until all {count:,} are searchable", f"{took_s:,.0f} s")
        status(home, f"{count:,}")


def cold_add(place: Path, folder: Path) -> float:
    """Return the seconds of a command that also starts the daemon."""
    with home_in(place) as home:
        return timed(lambda: home.ok("add", str(folder)))


def warm_add(place: Path, folder: Path) -> tuple[float, float]:
    """Return the seconds of the command, and from its start to the first upload."""
    with home_in(place) as home:
        home.ok("status")
        until_up(home)
        asked_at = time.time()
        took_s = timed(lambda: home.ok("add", str(folder)))
        return took_s, seconds(first_event(home, "uploading")["at"]) - asked_at


def until_up(home: Home) -> None:
    while json.loads(home.ok("status", "--json"))["server"]["state"] != "ok":
        pass


def seconds(iso: str) -> float:
    return datetime.fromisoformat(iso).timestamp()


def status(home: Home, items: str) -> None:
    took = [timed(lambda: home.ok("status")) for _ in range(ROUNDS)]
    show(f"`status` with {items} items", ms(min(took)))


def files(scratch: Path, count: int) -> None:
    """Upload many files of 200 KB until all are stored; then add many known ones."""
    folder = scratch / "files"
    memes.mass(folder, count=count, size_bytes=200_000, seed=2)
    with home_in(scratch / "many") as home:
        home.ok("status")
        until_up(home)
        started = time.perf_counter()
        home.ok("add", str(folder))
        while (items := home.json("status")["items"])["pending"] + items["uploading"] or items["total"] < count:
            pass
        show(f"{count:,} files of 200 KB: until all are stored", f"{time.perf_counter() - started:,.0f} s")
        show("  the daemon's peak memory", f"{peak_rss_mb(home):.0f} MB")


def known(scratch: Path, count: int) -> None:
    folder = scratch / "known"
    folder.mkdir()
    content = memes.mass(scratch / "one", count=1, size_bytes=4_000, seed=3)[0].read_bytes()
    for number in range(count):
        (folder / f"{number:06}.jpg").write_bytes(content)
    with home_in(scratch / "much") as home:
        home.ok("pause")
        home.ok("add", str(folder))
        while home.json("status")["items"]["total"] < count:
            pass
        status(home, f"{count:,}")


async def saving(scratch: Path, count: int = 1000) -> None:
    """Save and restore `count` items in the store alone."""
    saved, restored = [], []
    for number in range(ROUNDS):
        async with open_store(scratch / f"queue {number}.db") as store:
            batch = [FoundFile(b"/memes/%d.jpg" % each, version(each)) for each in range(count)]
            started = time.perf_counter()
            await store.import_store.enqueue(batch, source(), is_still_there=lambda path, version: True, now=1.0)
            saved.append(time.perf_counter() - started)
            started = time.perf_counter()
            assert len(await store.read_queries.items(limit=count)) == count
            restored.append(time.perf_counter() - started)
    show(f"the store saves {count:,} items", ms(min(saved)))
    show(f"the store restores {count:,} items", ms(min(restored)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--known", type=int, default=100_000)
    arguments = parser.parse_args()
    show("processors", str(os.cpu_count()))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        asyncio.run(saving(folder))
        if arguments.images:
            images(folder, arguments.images)
        if arguments.files:
            files(folder, arguments.files)
        if arguments.known:
            known(folder, arguments.known)


if __name__ == "__main__":
    main()
