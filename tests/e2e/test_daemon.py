"""The daemon as a process: single instance, graceful shutdown, and supervision of the local server."""

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import memes
import pytest
from temp_home import POLL_S, Home, home_in

from splootd.system.local_server import NICENESS

FILES = 60


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    with home_in(tmp_path / "home") as home:
        yield home


def wait_for_exit(pid: int, timeout_s: float = 15.0) -> None:
    """Wait until the process has exited: its pidfd becomes readable."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        readable, _, _ = select.select([descriptor], [], [], timeout_s)
        assert readable, f"process {pid} did not end within {timeout_s} s"
    finally:
        os.close(descriptor)


def splootd(home: Home) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "splootd"], env=home.variables(), capture_output=True, text=True, timeout=30, check=False
    )


def test_a_second_daemon_on_the_same_state_exits(home: Home):
    home.ok("status")
    second = splootd(home)
    assert second.returncode == 75
    assert "already runs" in second.stderr
    home.ok("status")


def test_an_invalid_configuration_exits_with_78_and_a_message(home: Home):
    file = Path(home.ok("config", "path").strip())
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("connections = 40\n")
    done = splootd(home)
    assert done.returncode == 78
    assert "`connections` to 40" in done.stderr
    assert "1 to 4" in done.stderr


def test_sigterm_drains_and_releases_the_items_in_flight(home: Home, tmp_path: Path):
    memes.mass(tmp_path / "memes", count=FILES, size_bytes=200_000, seed=1)
    home.ok("add", str(tmp_path / "memes"))
    pid = home.daemon_pid()
    assert pid is not None
    os.kill(pid, signal.SIGTERM)
    wait_for_exit(pid)
    home.ok("pause")
    items = home.json("status")["items"]
    assert items["uploading"] == 0
    assert items["total"] == FILES
    assert sum(row["attempts"] for row in home.rows()) == 0
    assert '"event": "stopped"' in home.log()


@pytest.mark.parametrize(
    ("program", "arguments"),
    [("splootd.daemon", []), ("sploot_server.cli", ["--data", "library", "--port", "0"])],
    ids=["daemon", "library"],
)
def test_startup_objects_are_frozen_for_the_garbage_collector(home: Home, program: str, arguments: list[str]):
    """Otherwise each full garbage collection stops the process for 50 ms, every few seconds under load."""
    report = "lambda: print(gc.get_freeze_count(), len(gc.get_objects()))"
    reading, writing = os.pipe()
    argv = [program, *arguments, "--ready-fd", str(writing)]
    code = f"import atexit, gc, sys; sys.argv = {argv}; from {program} import main; atexit.register({report}); main()"
    command, options = [sys.executable, "-c", code], {"env": home.variables(), "cwd": home.folder}
    with subprocess.Popen(command, stdout=subprocess.PIPE, pass_fds=(writing,), **options) as running:
        os.close(writing)
        with os.fdopen(reading) as ready:
            assert ready.readline()
        running.terminate()
        assert running.stdout is not None
        frozen, collected = map(int, running.stdout.read().split())
    assert collected < frozen / 2


def test_a_second_sigterm_stops_immediately_and_loses_nothing(home: Home, tmp_path: Path):
    memes.mass(tmp_path / "memes", count=FILES, size_bytes=200_000, seed=2)
    home.ok("add", str(tmp_path / "memes"))
    pid = home.daemon_pid()
    assert pid is not None
    os.kill(pid, signal.SIGTERM)
    os.kill(pid, signal.SIGTERM)
    wait_for_exit(pid)
    assert home.json("status")["items"]["total"] == FILES


def test_the_local_server_is_restarted_after_a_crash(home: Home):
    home.ok("status")
    library = library_pid(home)
    os.kill(library, signal.SIGKILL)
    wait_for_exit(library)
    assert library_pid(home) != library
    while home.json("status")["server"]["state"] != "ok":
        time.sleep(POLL_S)
    assert "local server stopped" in home.log()


def test_the_local_server_has_a_lower_priority_than_the_daemon(home: Home):
    """Uploads and embeddings run in the background and must not take the processor from commands."""
    library, daemon = library_pid(home), home.daemon_pid()
    assert daemon is not None
    assert niceness(library) == niceness(daemon) + NICENESS


def niceness(pid: int) -> int:
    """Return the niceness of the autogroup if Linux schedules by session, else of the process."""
    try:
        return int(Path(f"/proc/{pid}/autogroup").read_text().split()[-1])
    except OSError:
        return os.getpriority(os.PRIO_PROCESS, pid)


def library_pid(home: Home) -> int:
    """Return the process id of the local server, waiting for its start."""
    while True:
        home.ok("status")
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit():
                try:
                    arguments = (folder / "cmdline").read_bytes().split(b"\0")
                except OSError:
                    continue
                if b"sploot_server" in arguments and str(home.library).encode() in arguments:
                    return int(folder.name)


def test_the_local_server_exits_with_a_killed_daemon(home: Home):
    library = library_pid(home)
    home.kill_daemon()
    wait_for_exit(library)
