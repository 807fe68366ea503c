"""A library server of one's own with accounts, as a user of the daemon meets it."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import memes
import pytest
from homes import home_in
from toy_library import COMMAND, ServerProcess


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    server = ServerProcess(tmp_path / "library", port=0)
    yield server
    server.kill()


def told(server: ServerProcess, *words: str) -> str:
    command = [*COMMAND, *words, "--data", str(server.data)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.strip()


def test_a_token_lets_the_daemon_in_and_its_end_is_told_and_mended_by_the_next(
    tmp_path: Path, server: ServerProcess
) -> None:
    folder = tmp_path / "memes"
    files = memes.mass(folder, count=6, size_bytes=5_000)
    told(server, "user", "add", "anna")
    first = told(server, "token", "create", "anna")
    with home_in(tmp_path / "home", SPLOOT_SERVER=server.address) as home:
        home.ok("login", "--token-stdin", stdin=first.encode())
        home.ok("add", *map(str, files[:3]), "--wait", "--timeout", "90")
        assert home.json("status")["items"]["ready"] == 3
        assert home.run("search", "a meme").returncode in (0, 1)  # whether or not anything is like it
        told(server, "token", "revoke", first)
        assert home.run("add", *map(str, files[3:]), "--wait", "--timeout", "5").returncode in (4, 124)
        status = home.json("status")
        assert status["server"]["state"] == "signed_out"
        assert "sploot login" in [need["command"] for need in status["needs_you"]]
        home.ok("login", "--token-stdin", stdin=told(server, "token", "create", "anna").encode())
        home.ok("add", *map(str, files[3:]), "--wait", "--timeout", "90")
        status = home.json("status")
        assert (status["server"]["state"], status["items"]["ready"]) == ("ok", 6)
        assert first not in home.log()
    assert told(server, "user", "list").endswith("6 pictures")


def test_a_token_that_may_only_read_costs_no_file_a_try_and_is_told(tmp_path: Path, server: ServerProcess) -> None:
    (file,) = memes.mass(tmp_path / "memes", count=1, size_bytes=5_000)
    told(server, "user", "add", "anna")
    with home_in(tmp_path / "home", SPLOOT_SERVER=server.address) as home:
        home.ok("login", "--token-stdin", stdin=told(server, "token", "create", "anna", "--scopes", "read").encode())
        assert home.run("add", str(file), "--wait", "--timeout", "30").returncode == 4
        (row,) = home.rows()
        assert (row["state"], row["attempts"]) == ("pending", 0)
        (need,) = home.json("status")["needs_you"]
        assert "has not the scope write" in need["what"]
        assert need["command"] == "sploot login"
        examined = home.run("doctor", "--json")
        assert examined.returncode == 4
        (token,) = [each for each in json.loads(examined.stdout)["findings"] if each["state"] == "bad"]
        assert (token["check"], token["command"]) == ("token", "sploot login")
        home.ok("login", "--token-stdin", stdin=told(server, "token", "create", "anna").encode())
        home.ok("add", str(file), "--wait", "--timeout", "90")
        assert home.rows()[0]["state"] == "ready"


def test_the_environment_of_a_teams_server_does_not_concern_the_library_of_the_daemon(tmp_path: Path) -> None:
    """Whoever runs a server for others on this machine has memes of his own, too."""
    elsewhere = {
        "SPLOOT_SERVER_DATABASE": "postgresql://nobody@127.0.0.1:1/x",
        "SPLOOT_SERVER_BLOBS": "s3://nowhere",
        "SPLOOT_SERVER_EVENTS": "redis://127.0.0.1:1",
    }
    memes.mass(tmp_path / "memes", count=1, size_bytes=5_000, seed=1)
    with home_in(tmp_path / "home", **elsewhere) as home:
        home.ok("add", str(tmp_path / "memes"), "--once", "--wait", "--timeout", "60")
        assert home.json("status")["server"]["state"] == "ok"
