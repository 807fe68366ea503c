"""Compare uploads to a plain Sploot with curl: `python benchmarks/plain.py [--rounds N] [--only NAME]`.

The daemon and `curl --parallel --parallel-max 4` send the same files with the same forms to the same kind of server
(`plain_server.py`, a fresh process each time), in turns. The time runs from the start of `sploot add`, or of curl,
until the server has stored the last file. The daemon is running and has sent files before, as it would have in
practice. The contents that arrived are compared by SHA-256. On a busy machine compare processor times, and the ratios
within one round; the times themselves follow the load.
"""

import argparse
import contextlib
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import IO, Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from sample_files import mass
from side_by_side import ratio, rounds, show
from temp_home import Home, home_in
from upload import CURL, LOOK_S, started_daemon, stored

HERE = Path(__file__).resolve().parent
PROGRAM = ("-m", "splootd")
WARM_UP = 4  # files before the measured ones
OLD = 1e9  # mtime of all files: they have settled
CONNECTIONS_MAX = 4
CPU_MS_MAX = 0.9


@dataclass(frozen=True)
class Case:
    """A server and what it is sent. `ratio_max`: of the daemon's time to curl's."""

    name: str
    files: int
    size: int
    ratio_max: float
    rtt_s: float = 0.0
    took_s: float = 0.0


CASES = (
    Case("50 ms round trip", 200, 30_000, 1.05, rtt_s=0.05),
    Case("100 ms per request, small", 300, 97_000, 1.05, took_s=0.1),
    Case("100 ms per request, large", 300, 2_000_000, 1.05, took_s=0.1),
    Case("fast", 2_000, 100_000, 1.5),
)


@dataclass(frozen=True)
class Run:
    """One upload of all files. `cpu_s` is the processor time of the client.

    `upload_s` leaves out what precedes the first byte at the server: starting the command, the scan, connecting.
    """

    seconds: float
    upload_s: float
    cpu_s: float
    figures: dict[str, Any]


def run_from(started: float, earlier: int, cpu_s: float, figures: dict[str, Any], ended: float) -> Run:
    """Return the run that began at `started`, when the server had received `earlier` uploads."""
    return Run(ended - started, ended - figures["arrived_at"][earlier], cpu_s, figures)


@contextlib.contextmanager
def server(case: Case, expected: int) -> Iterator[tuple[str, IO[str]]]:
    """Start a server. Yield its URL and the stream on which its figures follow."""
    options = ["--expect", str(expected), "--rtt", str(case.rtt_s), "--took", str(case.took_s)]
    command = [sys.executable, str(HERE / "plain_server.py"), *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip(), process.stdout
        finally:
            process.terminate()


def ours(case: Case, scratch: Path) -> Run:
    with (
        tempfile.TemporaryDirectory(dir=scratch) as name,
        server(case, case.files + WARM_UP) as (url, output),
        home_in(Path(name) / "home", SPLOOT_SERVER=url, SPLOOT_TOKEN="secret") as home,
        started_daemon(home, PROGRAM) as pid,
    ):
        home.ok("add", "--once", str(scratch / "warm-up"))
        until_stored(home, WARM_UP)
        cpu_before, started = cpu_seconds(pid), time.monotonic()
        home.ok("add", "--once", str(scratch / "files"))
        figures = json.loads(output.readline())
        ended = time.monotonic()
        until_stored(home, case.files + WARM_UP)
        return run_from(started, WARM_UP, cpu_seconds(pid) - cpu_before, figures, ended)


def until_stored(home: Home, count: int) -> None:
    while stored(home) < count:
        time.sleep(LOOK_S)


def cpu_seconds(pid: int) -> float:
    """Return the processor time of a running process with its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def curl(case: Case, scratch: Path) -> Run:
    orders = scratch / "orders"
    each = 'url = "{url}/api/upload"\nform = "file=@{path};type=image/jpeg"\noutput = /dev/null\n'
    with server(case, case.files) as (url, output):
        paths = sorted((scratch / "files").iterdir())
        orders.write_text("next\n".join(each.format(url=url, path=path) for path in paths))
        cpu_before, started = os.times(), time.monotonic()
        subprocess.run([*CURL, "--config", str(orders)], check=True, stdout=subprocess.DEVNULL)
        figures = json.loads(output.readline())
        ended, cpu_after = time.monotonic(), os.times()
        cpu_s = sum(cpu_after[2:4]) - sum(cpu_before[2:4])
        return run_from(started, 0, cpu_s, figures, ended)


def make(folder: Path, count: int, size: int, seed: int) -> Sequence[str]:
    """Write files that have settled; return the SHA-256 of each."""
    paths = mass(folder, count, size, seed)
    for path in paths:
        os.utime(path, (OLD, OLD))
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]


def compare(case: Case, turns: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        contents = {*make(scratch / "files", case.files, case.size, seed=1)}
        make(scratch / "warm-up", WARM_UP, case.size, seed=2)
        runs = rounds(turns, {"sploot": partial(ours, case, scratch), "curl": partial(curl, case, scratch)})
    for run in (each for both in runs.values() for each in both):
        assert contents <= {*run.figures["sha256"]}, "a file arrived changed"
    own, theirs = runs["sploot"], runs["curl"]
    seconds = {name: [run.seconds for run in each] for name, each in runs.items()}
    upload_s = {name: [run.upload_s for run in each] for name, each in runs.items()}
    requests = median(sum(run.figures["requests"].values()) for run in own)
    most, push = (max(run.figures[name] for run in own) for name in ("connections_max", "push_connections_max"))
    cpu_ms = [median(run.cpu_s for run in each) / case.files * 1000 for each in (own, theirs)]
    print(f"{case.name}: {case.files:,} files of {case.size / 1000:,.0f} KB")
    for who, took in seconds.items():
        show(f"  {who}", f"{case.files / median(took):,.0f} files/s")
    figure = f"{ratio(seconds['sploot'], seconds['curl']):.2f} x"
    show("  sploot's time over that of curl", figure, f"target: at most {case.ratio_max} x")
    target = f"target: at most {CPU_MS_MAX} ms" if case.size <= 100_000 else ""
    show("  the same from the first byte at the server on", f"{ratio(upload_s['sploot'], upload_s['curl']):.2f} x")
    show("  processor time per file", f"{cpu_ms[0]:.2f} ms", target)
    show("  processor time of curl per file", f"{cpu_ms[1]:.2f} ms")
    show("  requests per file", f"{requests / (case.files + WARM_UP):.2f}")
    show("  most connections at one moment", f"{most}, push {push}", f"target: at most {CONNECTIONS_MAX}, push 1")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", help="run the cases whose name contains this")
    arguments = parser.parse_args()
    for case in CASES:
        if arguments.only is None or arguments.only in case.name:
            compare(case, arguments.rounds)


if __name__ == "__main__":
    main()
