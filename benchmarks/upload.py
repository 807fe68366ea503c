"""Measure from `sploot add` to stored: `python benchmarks/upload.py [--files N] [--bytes mix] [--rounds N]`.

Uploads to the local server in its default configuration. The contenders are `curl --parallel --parallel-max 4` posting
the same files to the same kind of `sploot-server` on a port of this machine (both fresh, without image analysis),
`rclone copy --transfers 4 --checksum` to a folder and to `rclone serve webdav`, and the floor: `cp -r`, `sha256sum` and
`sync` of the same bytes.

Our files are durable one by one when they count, and so are curl's, since the server answers after fsync; rclone never
calls fsync, so a final `sync` is counted for it and for the floor. The page cache is warm for all.
`--bytes mix` takes sizes from 20 KB to 2 MB, 150 KB on average. Needs curl, and rclone for its rows. Over webdav rclone
takes minutes where others take seconds: `--webdav-files` compares it on fewer files.
"""

import argparse
import contextlib
import itertools
import os
import re
import shlex
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from daemon_http import get
from sample_files import mass
from side_by_side import ratio, rounds, show, timed
from temp_home import Home, home_in

HERE = Path(__file__).resolve().parent
LOOK_S = 0.05  # between two checks of the progress, which also cost the daemon time
MIX = {20_000: 0.35, 60_000: 0.3, 150_000: 0.2, 400_000: 0.1, 2_000_000: 0.02}  # bytes: share of the files
CURL = ("curl", "--silent", "--no-progress-meter", "--fail", "--parallel", "--parallel-max", "4")
RCLONE = ("rclone", "--config", "/dev/null", "copy", "--transfers", "4", "--checksum")
Contender = Callable[[Path, Path], float]  # takes a folder of files and a scratch folder; returns seconds
numbers = itertools.count()


@contextlib.contextmanager
def library(folder: Path) -> Iterator[str]:
    """Start a fresh server without image analysis; return its URL."""
    reading, writing = os.pipe()
    command = [
        sys.executable,
        HERE / "server_without_analysis.py",
        "--data",
        folder,
        "--port",
        "0",
        "--ready-fd",
        str(writing),
    ]
    log = ["--log", folder.with_suffix(".log"), "--log-level", "warning"]
    with subprocess.Popen([*command, *log], pass_fds=(writing,)) as server:
        os.close(writing)
        try:
            with os.fdopen(reading) as ready:
                yield ready.readline().strip()
        finally:
            server.terminate()


def ours(source: Path, scratch: Path) -> float:
    count = sum(1 for _ in source.iterdir())
    with home_in(scratch / "home") as home, daemon(home):
        return timed(lambda: add_until_stored(home, source, count))


@contextlib.contextmanager
def started_daemon(home: Home, program: Sequence[str]) -> Iterator[int]:
    """Start a daemon, wait until it is ready, and yield its process id."""
    reading, writing = os.pipe()
    command = [sys.executable, *program, "--ready-fd", str(writing)]
    with subprocess.Popen(command, pass_fds=(writing,), env=home.variables(), stderr=subprocess.DEVNULL) as process:
        os.close(writing)
        try:
            with os.fdopen(reading) as ready:
                ready.readline()
            yield process.pid
        finally:
            process.terminate()


@contextlib.contextmanager
def daemon(home: Home, program: Sequence[str] = (str(HERE / "daemon_without_analysis.py"),)) -> Iterator[None]:
    """Start a daemon with its local server; wait until both are ready."""
    with started_daemon(home, program):
        while b'"state": "ok"' not in get(home, "/v1/status"):
            time.sleep(LOOK_S)
        yield


def add_until_stored(home: Home, source: Path, count: int) -> None:
    home.ok("add", "--once", str(source))
    while stored(home) < count:
        time.sleep(LOOK_S)


def stored(home: Home) -> int:
    """Return the number of stored items, from the daemon's socket."""
    return sum(int(number) for number in re.findall(rb'"(?:embedding|ready)": ?(\d+)', get(home, "/v1/status")))


def curl(source: Path, scratch: Path) -> float:
    """Run one curl process with four parallel transfers, each with the daemon's form."""
    orders = scratch / "orders"
    with library(scratch / "library") as url:
        each = 'url = "{url}/api/upload"\nform = "file=@{path};type=image/jpeg"\noutput = /dev/null\n'
        orders.write_text("next\n".join(each.format(url=url, path=path) for path in sorted(source.iterdir())))
        return timed(lambda: run(*CURL, "--config", str(orders)))


def rclone_local(source: Path, scratch: Path) -> float:
    return timed(lambda: (run(*RCLONE, str(source), str(scratch / "copy")), run("sync")))


def rclone_webdav(source: Path, scratch: Path) -> float:
    with webdav(scratch / "dav") as url:
        target = f":webdav,url='{url}':"
        return timed(lambda: (run(*RCLONE, str(source), target), run("sync")))


@contextlib.contextmanager
def webdav(folder: Path) -> Iterator[str]:
    folder.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = ["rclone", "--config", "/dev/null", "serve", "webdav", str(folder), "--addr", f"127.0.0.1:{port}"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as server:
        try:
            until_listening(port)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()


def until_listening(port: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(LOOK_S)
    raise TimeoutError("rclone does not serve")


def floor(source: Path, scratch: Path) -> float:
    copy = shlex.quote(str(scratch / "copy"))
    script = f"cp -r {shlex.quote(str(source))} {copy} && find {copy} -type f -exec sha256sum {{}} + && sync"
    return timed(lambda: run("sh", "-c", script))


def run(*command: str) -> None:
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
    if done.returncode:
        raise RuntimeError(f"{command[0]}: exit {done.returncode}: {done.stderr[-500:]!r}")


def fresh(contender: Contender, source: Path, scratch: Path) -> float:
    """Time a contender in an empty folder, after all earlier writes are flushed."""
    folder = scratch / str(next(numbers))
    folder.mkdir()
    run("sync")
    try:
        return contender(source, folder)
    finally:
        shutil.rmtree(folder)


def make(folder: Path, count: int, size: str) -> Path:
    shares = MIX if size == "mix" else {int(size): 1.0}
    for seed, (size_bytes, share) in enumerate(shares.items()):
        mass(folder, count=max(1, round(count * share)), size_bytes=size_bytes, seed=seed)
    return folder


def sample(source: Path, target: Path, count: int) -> Path:
    """Link the first files under second names."""
    target.mkdir()
    for path in sorted(source.iterdir())[:count]:
        (target / path.name).hardlink_to(path)
    return target


def compare(source: Path, scratch: Path, contenders: Mapping[str, Contender], turns: int) -> None:
    """Run all contenders in turn on the files of `source`; print their speed and the ratio to sploot."""
    count = sum(1 for _ in source.iterdir())
    took = rounds(turns, {name: partial(fresh, each, source, scratch) for name, each in contenders.items()})
    for name, seconds in took.items():
        show(f"{count:,} files: {name}", f"{count / statistics.median(seconds):,.0f} /s")
    targets = {"floor": "at most 2.5 x", "curl": "under 1 x", "rclone, webdav": "under 1 x"}
    for name in contenders:
        if name != "sploot":
            target = f"target: {targets[name]}" if name in targets else ""
            show(f"  sploot's time over that of {name}", f"{ratio(took['sploot'], took[name]):.2f} x", target)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--bytes", default="mix", help="of each file, or mix (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--webdav-files", type=int, help="number of files for rclone over webdav (all)")
    arguments = parser.parse_args()
    contenders: dict[str, Contender] = {"floor": floor, "sploot": ours, "curl": curl}
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        source = make(scratch / "source", arguments.files, arguments.bytes)
        if shutil.which("rclone"):
            contenders["rclone, local"] = rclone_local
            if arguments.webdav_files:
                few = sample(source, scratch / "few", arguments.webdav_files)
                compare(few, scratch, {"sploot": ours, "rclone, webdav": rclone_webdav}, arguments.rounds)
            else:
                contenders["rclone, webdav"] = rclone_webdav
        compare(source, scratch, contenders, arguments.rounds)


if __name__ == "__main__":
    main()
