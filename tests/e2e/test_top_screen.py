"""The terminal UI with a real daemon that stops, crashes and restarts."""

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from screens import shown, until
from sploot.tui.app import TopApp
from sploot.tui.daemon_link import DaemonLink
from temp_home import Home, home_in

from splootd.config import Paths

UNREACHABLE = "http://127.0.0.1:1"
PNG = b"\x89PNG\r\n\x1a\n"
TIMEOUT_S = 60


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    with home_in(tmp_path / "home", SPLOOT_SERVER=UNREACHABLE) as home:
        home.ok("pause")
        for name in ("cat.png", "dog.png"):
            (home.folder / name).write_bytes(PNG + name.encode())
        home.ok("add", str(home.folder / "cat.png"), str(home.folder / "dog.png"))
        yield home


async def test_the_screen_follows_a_daemon_through_changes_a_stop_and_a_crash(
    home: Home, monkeypatch: pytest.MonkeyPatch
):
    for name, value in home.variables().items():
        monkeypatch.setenv(name, value)
    link = DaemonLink(Paths.from_environ(os.environ))
    app = TopApp(link)

    async def text_appears(words: str) -> None:
        await until(app, pilot, lambda: any(words in line for line in shown(app)))

    async with app.run_test(size=(100, 30)) as pilot:
        await text_appears("1 of 2")
        await text_appears("2 = 2 waiting")
        await text_appears("sploot   paused")
        await pilot.press("f")
        await text_appears("Remove from the queue: ~/dog.png?")
        await pilot.press("y")
        await text_appears("1 file removed from the queue.")
        await text_appears("+ 1 skipped")
        assert {Path(each["path"]).name: each["state"] for each in home.rows()} == {
            "cat.png": "pending",
            "dog.png": "skipped",
        }
        await pilot.press("slash", *"CAT", "enter")
        await text_appears("1 of 1")
        await pilot.press("enter")
        await text_appears("Waiting: uploads are paused")
        await pilot.press("escape")
        home.ok("daemon", "stop")
        await text_appears("offline: The daemon was stopped.")
        home.ok("daemon", "start")
        await text_appears("sploot   paused")
        before = home.daemon_pid()
        home.kill_daemon(signal.SIGKILL)
        await until(app, pilot, lambda: home.daemon_pid() not in (None, before))
        (home.folder / "cow.png").write_bytes(PNG)
        home.ok("add", str(home.folder / "cow.png"))
        await text_appears("3 = 2 waiting")
        await pilot.press("escape")
        await text_appears("1 of 3")
    link.join()


def test_the_command_needs_a_terminal(home: Home):
    done = home.run("top")
    assert done.returncode == 2
    assert "sploot status --follow" in done.stderr


@pytest.mark.parametrize("is_terminated", [False, True], ids=["by a key", "by a signal"])
def test_the_terminal_is_restored_after_a_key_and_after_a_signal(home: Home, is_terminated: bool):
    master, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    before = termios.tcgetattr(terminal)
    variables = {**home.variables(), "TERM": "xterm-256color"}
    screen = subprocess.Popen(home.command("top"), env=variables, stdin=terminal, stdout=terminal, stderr=terminal)
    output = b""
    deadline = time.monotonic() + TIMEOUT_S
    has_quit = False
    while screen.poll() is None:
        assert time.monotonic() < deadline, output
        if select.select([master], [], [], 0.1)[0]:
            output += os.read(master, 65_536)
        if b"cat.png" in output and not has_quit:
            if is_terminated:
                screen.terminate()
            else:
                os.write(master, b"q")
            has_quit = True
    assert screen.returncode == 0
    assert termios.tcgetattr(terminal) == before
    while select.select([master], [], [], 0)[0]:
        output += os.read(master, 65_536)
    assert b"\x1b[?1049l" in output
    assert b"Traceback" not in output
    os.close(master)
    os.close(terminal)
