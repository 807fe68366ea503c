"""`sploot add --wait` beside other commands, with a real daemon."""

import asyncio
import json
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import memes
import pytest
from scripted_sploot import ScriptedSploot, hold, run_scripted_sploot
from temp_home import Home, home_in

FILES = 30
TIMEOUT_S = 60


@pytest.fixture
def server() -> Iterator[tuple[str, ScriptedSploot]]:
    with run_scripted_sploot() as running:
        yield running


@pytest.fixture
def home(tmp_path: Path, server: tuple[str, ScriptedSploot]) -> Iterator[Home]:
    with home_in(tmp_path / "home", SPLOOT_SERVER=server[0]) as home:
        yield home


def test_two_adds_of_one_folder_each_wait_for_all_of_its_files(home: Home):
    folder = home.folder / "both"
    memes.mass(folder, count=FILES, size_bytes=20_000, seed=5)
    home.ok("pause")
    home.ok("add", str(folder), "--once")
    waiting = []
    for _ in range(2):
        command = home.command("add", str(folder), "--once", "--wait", "--json")
        waiting.append(subprocess.Popen(command, env=home.variables(), stdout=subprocess.PIPE, text=True))
    deadline = time.monotonic() + TIMEOUT_S
    while joined(home) < 2 * FILES:
        assert time.monotonic() < deadline
    home.ok("resume")
    for each in waiting:
        out, _ = each.communicate(timeout=TIMEOUT_S)
        progress = json.loads(out)
        assert each.returncode == 0
        assert (progress["total"], progress["states"]["ready"], progress["ended"]) == (FILES, FILES, True)


def test_a_server_that_never_responds_is_called_silent(home: Home, server: tuple[str, ScriptedSploot]):
    sploot = server[1]
    for route in ("health", "limits"):
        sploot.always[route] = hold(sploot, asyncio.Event())
    memes.mass(home.folder / "few", count=3, size_bytes=20_000, seed=7)
    started_at = time.monotonic()
    home.ok("add", str(home.folder / "few"), "--once")
    assert home.json("status")["server"]["state"] == "unknown"
    while (status := home.json("status")["server"])["state"] == "unknown":
        time.sleep(0.5)
    assert 10 <= time.monotonic() - started_at < 20
    assert status["state"] == "silent"
    assert status["detail"].startswith("no response to any request for 1")
    assert "does not respond (no response to any request for" in home.ok("why", "--slow")
    picture = next((home.folder / "few").iterdir())
    assert "does not respond (no response to any request for" in home.ok("why", str(picture))
    sploot.always.clear()
    while home.json("status")["server"]["state"] == "silent":
        time.sleep(0.5)
    assert home.json("status")["server"]["state"] == "ok"


def joined(home: Home) -> int:
    """Return how many items belong to an import that did not queue them."""
    with closing(sqlite3.connect(f"file:{home.state / 'queue.db'}?mode=ro", uri=True)) as database:
        (count,) = database.execute("SELECT count(*) FROM import_items").fetchone()
    return int(count)


@pytest.mark.parametrize("how", ["daemon stop", "two SIGTERM"])
def test_a_daemon_that_is_stopped_stays_stopped_while_a_command_waits(
    home: Home, server: tuple[str, ScriptedSploot], how: str
):
    """The waiting command neither starts the daemon again nor reports the files as done."""
    sploot = server[1]
    sploot.script("upload", *[hold(sploot, asyncio.Event())] * FILES)
    folder = home.folder / "many"
    memes.mass(folder, count=FILES, size_bytes=20_000, seed=6)
    command = home.command("add", str(folder), "--once", "--wait")
    waiting = subprocess.Popen(command, env=home.variables(), stderr=subprocess.PIPE, text=True)
    assert waiting.stderr is not None
    while f" of {FILES}" not in (line := waiting.stderr.readline()):
        assert line
    if how == "daemon stop":
        home.ok("daemon", "stop")
    else:
        assert home.kill_daemon(signal.SIGTERM)
        while '"event": "draining"' not in home.log():
            pass
        assert home.kill_daemon(signal.SIGTERM)
    _, err = waiting.communicate(timeout=TIMEOUT_S)
    assert waiting.returncode == 3
    assert "the daemon was stopped; queued files wait" in err
    assert home.daemon_pid() is None
    assert home.ok("daemon", "stop") == "The daemon is not running.\n"
