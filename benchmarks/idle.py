"""Measure the cost of an idle daemon: `python benchmarks/idle.py [--folders 10000] [--minutes 10]`.

Watches that many folders without any activity, and prints the share of one core that the daemon and its local server
use and how often each thread wakes. Where syncthing is installed, it watches the same folders at the same time.
"""

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from side_by_side import show
from temp_home import Home, home_in

CALM_S = 75.0  # until the work after the start has ended
BURST_S = 0.05  # threads that run within this time were woken by the same event
LOOK_S = 0.01


def children(pid: int) -> list[int]:
    return [
        int(word) for task in Path(f"/proc/{pid}/task").iterdir() for word in (task / "children").read_text().split()
    ]


def family(pid: int) -> list[int]:
    return [pid, *(each for child in children(pid) for each in family(child))]


def ran_s(pid: int) -> float:
    """Return the processor time of a process and its children."""
    return sum(
        int((task / "schedstat").read_text().split()[0]) / 1e9
        for each in family(pid)
        for task in Path(f"/proc/{each}/task").iterdir()
    )


def switches(pid: int) -> int:
    """Return the context switches of all threads of the process and its children."""
    lines = [
        line
        for each in family(pid)
        for task in Path(f"/proc/{each}/task").iterdir()
        for line in (task / "status").read_text().splitlines()
    ]
    return sum(int(line.split()[1]) for line in lines if "ctxt_switches" in line)


def rss_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


@contextlib.contextmanager
def syncthing(folder: Path, tree: Path) -> Iterator[int | None]:
    """Start syncthing offline with `tree` as its only folder; None where it is not installed."""
    program = shutil.which("syncthing")
    if program is None:
        yield None
        return
    home = ["--home", str(folder / "syncthing")]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": {**os.environ, "HOME": str(folder)}}
    subprocess.run([program, "generate", *home], check=True, **quiet)  # type: ignore[call-overload]  # as Popen below
    file = folder / "syncthing" / "config.xml"
    text = file.read_text()
    for word in (
        "globalAnnounceEnabled",
        "localAnnounceEnabled",
        "relaysEnabled",
        "natEnabled",
        "crashReportingEnabled",
    ):
        text = text.replace(f"<{word}>true", f"<{word}>false")
    file.write_text(text.replace(str(folder / "Sync"), str(tree)))
    process = subprocess.Popen([program, "serve", *home, "--no-browser", "--no-restart", "--no-upgrade"], **quiet)  # type: ignore[call-overload]  # as above
    try:
        yield process.pid
    finally:
        process.terminate()
        process.wait()


def watched(home: Home, tree: Path) -> int:
    home.ok("add", str(tree))
    while home.json("status")["folders"][0]["state"] != "watching":
        time.sleep(0.5)
    pid = home.daemon_pid()
    assert pid is not None
    return pid


def bursts(pids: list[int], seconds: float) -> dict[int, int]:
    """Return how many separate times each process group was woken."""
    last = {pid: switches(pid) for pid in pids}
    woken = dict.fromkeys(pids, 0)
    stirred_at = dict.fromkeys(pids, 0.0)
    end = time.monotonic() + seconds
    while (now := time.monotonic()) < end:
        for pid in pids:
            count = switches(pid)
            if count != last[pid]:
                woken[pid] += now - stirred_at[pid] > BURST_S + LOOK_S
                last[pid], stirred_at[pid] = count, now
        time.sleep(LOOK_S)
    return woken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folders", type=int, default=10_000)
    parser.add_argument("--minutes", type=float, default=10.0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, home_in(Path(name) / "home") as home:
        folder, tree = Path(name), Path(name) / "tree"
        for number in range(arguments.folders):
            (tree / f"{number // 100:03}" / f"{number % 100:02}").mkdir(parents=True)
        with syncthing(folder, tree) as peer:
            pids = {"sploot": watched(home, tree), **({"syncthing": peer} if peer else {})}
            time.sleep(CALM_S)
            before = {pid: (ran_s(pid), switches(pid)) for pid in pids.values()}
            woken = bursts(list(pids.values()), arguments.minutes * 60)
            show(f"{arguments.folders:,} folders, {arguments.minutes:g} minutes", "")
            for what, pid in pids.items():
                ran, switched = ran_s(pid) - before[pid][0], switches(pid) - before[pid][1]
                show(f"{what}: share of one core", f"{ran / arguments.minutes / 0.6:.4f} %", "below 0.1 %")
                show("  wake-ups per minute", f"{woken[pid] / arguments.minutes:.2f}")
                show("  context switches per minute", f"{switched / arguments.minutes:.1f}")
                show("  memory", f"{rss_mb(pid):.0f} MB")


if __name__ == "__main__":
    main()
