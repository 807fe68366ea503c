"""The life of the daemon as a process: one at a time, drained when told to stop, and never without its library."""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import memes
import pytest
from homes import Home, home_in

from splootd.work.embedded import NICENESS

FILES = 60


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    with home_in(tmp_path / "home") as home:
        yield home


def ended(pid: int, timeout_s: float = 15.0) -> None:
    """Wait until the process has ended: its descriptor becomes readable."""
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


def test_a_second_daemon_on_the_same_state_says_so_and_leaves(home: Home):
    home.ok("status")
    second = splootd(home)
    assert second.returncode == 75
    assert "already runs" in second.stderr
    home.ok("status")


def test_a_wrong_configuration_ends_it_with_78_and_a_sentence(home: Home):
    file = Path(home.ok("config", "path").strip())
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("connections = 40\n")
    done = splootd(home)
    assert done.returncode == 78
    assert "`connections` to 40" in done.stderr
    assert "1 to 4" in done.stderr


def test_sigterm_drains_and_what_was_in_flight_is_handed_back(home: Home, tmp_path: Path):
    memes.mass(tmp_path / "memes", count=FILES, size_bytes=200_000, seed=1)
    home.ok("add", str(tmp_path / "memes"))
    pid = home.daemon_pid()
    assert pid is not None
    os.kill(pid, signal.SIGTERM)
    ended(pid)
    home.ok("pause")
    items = home.json("status")["items"]
    assert items["uploading"] == 0
    assert items["total"] == FILES
    assert sum(row["attempts"] for row in home.rows()) == 0
    assert '"event": "stopped"' in home.log()


@pytest.mark.parametrize(
    ("program", "arguments"),
    [("splootd.daemon", []), ("sploot_server.app", ["--data", "library", "--port", "0"])],
    ids=["daemon", "library"],
)
def test_what_is_there_from_the_start_is_never_looked_through_for_garbage(
    home: Home, program: str, arguments: list[str]
):
    """That would hold up everything for a twentieth of a second, every few seconds while much is going on."""
    tell = "lambda: print(gc.get_freeze_count(), len(gc.get_objects()))"
    reading, writing = os.pipe()
    words = [program, *arguments, "--ready-fd", str(writing)]
    code = f"import atexit, gc, sys; sys.argv = {words}; from {program} import main; atexit.register({tell}); main()"
    command, place = [sys.executable, "-c", code], {"env": home.variables(), "cwd": home.folder}
    with subprocess.Popen(command, stdout=subprocess.PIPE, pass_fds=(writing,), **place) as running:
        os.close(writing)
        with os.fdopen(reading) as ready:
            assert ready.readline()
        running.terminate()
        assert running.stdout is not None
        kept, looked_through = map(int, running.stdout.read().split())
    assert looked_through < kept / 2


def test_a_second_sigterm_stops_it_at_once_and_loses_nothing(home: Home, tmp_path: Path):
    memes.mass(tmp_path / "memes", count=FILES, size_bytes=200_000, seed=2)
    home.ok("add", str(tmp_path / "memes"))
    pid = home.daemon_pid()
    assert pid is not None
    os.kill(pid, signal.SIGTERM)
    os.kill(pid, signal.SIGTERM)
    ended(pid)
    assert home.json("status")["items"]["total"] == FILES


def test_the_library_is_started_again_when_it_dies(home: Home):
    home.ok("status")
    library = library_pid(home)
    os.kill(library, signal.SIGKILL)
    ended(library)
    assert library_pid(home) != library
    while home.json("status")["server"]["state"] != "ok":
        pass
    assert "library stopped" in home.log()


def test_the_library_lets_the_daemon_and_commands_go_first(home: Home):
    """What has been queued is sent and embedded in the background: a command must not wait for a processor."""
    library, daemon = library_pid(home), home.daemon_pid()
    assert daemon is not None
    assert niceness(library) == niceness(daemon) + NICENESS


def niceness(pid: int) -> int:
    """Of its session, where Linux shares processors among these first, else its own."""
    try:
        return int(Path(f"/proc/{pid}/autogroup").read_text().split()[-1])
    except OSError:
        return os.getpriority(os.PRIO_PROCESS, pid)


def library_pid(home: Home) -> int:
    """The server that listens in this home, as soon as there is one."""
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


def test_the_library_never_outlives_a_killed_daemon(home: Home):
    library = library_pid(home)
    home.kill_daemon()
    ended(library)
