"""Combinations of versions: an old daemon and a new command, a new database and an old daemon."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from temp_home import Home, home_in

from splootd import __version__

UNREACHABLE = "http://127.0.0.1:1"
OLD = "import splootd; splootd.__version__ = '0.0.1'; from splootd.daemon import main; main()"


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    with home_in(tmp_path / "home", SPLOOT_SERVER=UNREACHABLE) as home:
        yield home


def old_daemon(home: Home) -> subprocess.Popen[bytes]:
    """Start a daemon of an older version and wait until it is ready."""
    ready, child_end = os.pipe()
    command = [sys.executable, "-c", OLD, "--ready-fd", str(child_end)]
    daemon = subprocess.Popen(command, env=home.variables(), pass_fds=(child_end,))
    os.close(child_end)
    with os.fdopen(ready) as stream:
        assert stream.readline() == "ready\n"
    return daemon


@pytest.mark.parametrize("command", [["status", "--json"], ["pause"]])
def test_an_older_daemon_is_shut_down_and_replaced(home: Home, command: list[str]):
    old = old_daemon(home)
    done = home.run(*command)
    assert done.returncode == 0, done.stderr
    assert f"replacing the daemon of version 0.0.1 with version {__version__}" in done.stderr
    assert old.wait(30) == 0
    now = home.json("status")["daemon"]
    assert now["version"] == __version__
    assert now["pid"] != old.pid
    assert now["state"] == ("paused" if command == ["pause"] else "running")


def test_a_database_of_a_newer_version_is_not_changed_and_the_error_has_a_hint(home: Home):
    home.ok("status")
    home.ok("daemon", "stop")
    database = home.state / "queue.db"
    connection = sqlite3.connect(database)
    connection.execute("PRAGMA user_version = 99")
    connection.commit()
    connection.close()
    before = database.read_bytes()
    done = home.run("status")
    assert done.returncode == 3
    assert "was made by a newer version of Sploot" in done.stderr
    assert "Install the newer version again, or restore a backup" in done.stderr
    assert database.read_bytes() == before


def test_profiles_run_side_by_side_and_are_isolated(home: Home):
    picture = home.folder / "cat.png"
    picture.write_bytes(b"\x89PNG\r\n\x1a\n")
    try:
        home.ok("--profile", "work", "add", str(picture))
        assert home.json("status")["items"]["total"] == 0
        assert "1 = 1 waiting" in home.ok("--profile", "work", "status")
        assert "profiles/work" in home.ok("--profile", "work", "config", "path")
    finally:
        home.ok("--profile", "work", "daemon", "stop")


def test_an_invalid_profile_is_wrong_usage(home: Home):
    done = home.run("--profile", "../x", "status")
    assert done.returncode == 2
    assert "not a valid profile name" in done.stderr
