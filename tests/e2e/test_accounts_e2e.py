"""The daemon with a library server that has accounts."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import memes
import pytest
from temp_home import home_in
from toy_library import COMMAND, ServerProcess


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    server = ServerProcess(tmp_path / "library", port=0)
    yield server
    server.kill()


def admin(server: ServerProcess, *words: str) -> str:
    command = [*COMMAND, *words, "--data", str(server.data)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.strip()


def test_a_revoked_token_is_reported_and_replaced_by_the_next(tmp_path: Path, server: ServerProcess) -> None:
    folder = tmp_path / "memes"
    files = memes.mass(folder, count=6, size_bytes=5_000)
    admin(server, "user", "add", "anna")
    first = admin(server, "token", "create", "anna")
    with home_in(tmp_path / "home", SPLOOT_SERVER=server.address) as home:
        home.ok("login", "--token-stdin", stdin=first.encode())
        home.ok("add", *map(str, files[:3]), "--wait", "--timeout", "90")
        assert home.json("status")["items"]["ready"] == 3
        assert home.run("search", "a meme").returncode in (0, 1)  # with or without matches
        admin(server, "token", "revoke", first)
        assert home.run("add", *map(str, files[3:]), "--wait", "--timeout", "5").returncode in (4, 124)
        status = home.json("status")
        assert status["server"]["state"] == "signed_out"
        assert "sploot login" in [action["command"] for action in status["actions_required"]]
        home.ok("login", "--token-stdin", stdin=admin(server, "token", "create", "anna").encode())
        home.ok("add", *map(str, files[3:]), "--wait", "--timeout", "90")
        status = home.json("status")
        assert (status["server"]["state"], status["items"]["ready"]) == ("ok", 6)
        assert first not in home.log()
    assert "6 files" in admin(server, "user", "list")


def test_a_read_only_token_costs_no_attempt_and_is_reported(tmp_path: Path, server: ServerProcess) -> None:
    (file,) = memes.mass(tmp_path / "memes", count=1, size_bytes=5_000)
    admin(server, "user", "add", "anna")
    with home_in(tmp_path / "home", SPLOOT_SERVER=server.address) as home:
        home.ok("login", "--token-stdin", stdin=admin(server, "token", "create", "anna", "--scopes", "read").encode())
        assert home.run("add", str(file), "--wait", "--timeout", "30").returncode == 4
        (row,) = home.rows()
        assert (row["state"], row["attempts"]) == ("pending", 0)
        (action,) = home.json("status")["actions_required"]
        assert "lacks the scope write" in action["what"]
        assert action["command"] == "sploot login"
        doctor = home.run("doctor", "--json")
        assert doctor.returncode == 4
        (token,) = [each for each in json.loads(doctor.stdout)["findings"] if each["state"] == "error"]
        assert (token["check"], token["command"]) == ("token", "sploot login")
        home.ok("login", "--token-stdin", stdin=admin(server, "token", "create", "anna").encode())
        home.ok("add", str(file), "--wait", "--timeout", "90")
        assert home.rows()[0]["state"] == "ready"


def test_the_environment_of_a_team_server_does_not_affect_the_local_library(tmp_path: Path) -> None:
    """A user may run a server for others and a local library on the same machine."""
    elsewhere = {
        "SPLOOT_SERVER_DATABASE": "postgresql://nobody@127.0.0.1:1/x",
        "SPLOOT_SERVER_BLOBS": "s3://nowhere",
        "SPLOOT_SERVER_EVENTS": "redis://127.0.0.1:1",
    }
    memes.mass(tmp_path / "memes", count=1, size_bytes=5_000, seed=1)
    with home_in(tmp_path / "home", **elsewhere) as home:
        home.ok("add", str(tmp_path / "memes"), "--once", "--wait", "--timeout", "60")
        assert home.json("status")["server"]["state"] == "ok"
