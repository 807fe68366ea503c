"""The full screen and a real daemon, which comes and goes."""

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
from homes import Home, home_in
from screens import shown, until
from sploot.topview.app import Top
from sploot.topview.link import Link

from splootd.config import Paths

NOBODY = "http://127.0.0.1:1"
PNG = b"\x89PNG\r\n\x1a\n"
LIMIT_S = 60


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    with home_in(tmp_path / "home", SPLOOT_SERVER=NOBODY) as home:
        home.ok("pause")
        for name in ("cat.png", "dog.png"):
            (home.folder / name).write_bytes(PNG + name.encode())
        home.ok("add", str(home.folder / "cat.png"), str(home.folder / "dog.png"))
        yield home


async def test_the_screen_follows_a_daemon_that_changes_stops_dies_and_comes_back(
    home: Home, monkeypatch: pytest.MonkeyPatch
):
    for name, value in home.variables().items():
        monkeypatch.setenv(name, value)
    link = Link(Paths.find(os.environ))
    app = Top(link)

    async def says(words: str) -> None:
        await until(app, pilot, lambda: any(words in line for line in shown(app)))

    async with app.run_test(size=(100, 30)) as pilot:
        await says("1 of 2")
        await says("2 = 2 pending")
        await says("sploot   paused")
        await pilot.press("f")
        await says("Forget ~/dog.png?")
        await pilot.press("y")
        await says("1 file out of the queue.")
        await says("+ 1 skipped")
        assert {Path(each["path"]).name: each["state"] for each in home.rows()} == {
            "cat.png": "pending",
            "dog.png": "skipped",
        }
        await pilot.press("slash", *"CAT", "enter")
        await says("1 of 1")
        await pilot.press("enter")
        await says("It waits, because sending is paused")
        await pilot.press("escape")
        home.ok("daemon", "stop")
        await says("no daemon: The daemon was stopped.")
        home.ok("daemon", "start")
        await says("sploot   paused")
        before = home.daemon_pid()
        home.kill_daemon(signal.SIGKILL)
        await until(app, pilot, lambda: home.daemon_pid() not in (None, before))
        (home.folder / "cow.png").write_bytes(PNG)
        home.ok("add", str(home.folder / "cow.png"))
        await says("3 = 2 pending")
        await pilot.press("escape")
        await says("1 of 3")
    link.join()


def test_the_command_needs_a_terminal(home: Home):
    done = home.run("top")
    assert done.returncode == 2
    assert "sploot status --follow" in done.stderr


@pytest.mark.parametrize("is_ended", [False, True], ids=["by a key", "by a signal"])
def test_however_it_ends_the_terminal_is_left_as_it_was(home: Home, is_ended: bool):
    mine, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    before = termios.tcgetattr(theirs)
    variables = {**home.variables(), "TERM": "xterm-256color"}
    screen = subprocess.Popen(home.command("top"), env=variables, stdin=theirs, stdout=theirs, stderr=theirs)
    said = b""
    ends_at = time.monotonic() + LIMIT_S
    has_quit = False
    while screen.poll() is None:
        assert time.monotonic() < ends_at, said
        if select.select([mine], [], [], 0.1)[0]:
            said += os.read(mine, 65_536)
        if b"cat.png" in said and not has_quit:
            if is_ended:
                screen.terminate()
            else:
                os.write(mine, b"q")
            has_quit = True
    assert screen.returncode == 0
    assert termios.tcgetattr(theirs) == before
    while select.select([mine], [], [], 0)[0]:
        said += os.read(mine, 65_536)
    assert b"\x1b[?1049l" in said
    assert b"Traceback" not in said
    os.close(mine)
    os.close(theirs)
