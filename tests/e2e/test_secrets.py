"""The token is where it must be and nowhere else: not in the queue, the log, a process list, an answer or a bundle."""

import contextlib
import sys
import zipfile
from pathlib import Path

import memes
import pytest
from homes import Home, home_in
from scripted import SIGNED_OUT, replying, sploot_elsewhere

TOKEN = "tok-5ecret.dGhpcyBpcyBzZWNyZXQ.0123456789abcdef"
COMMANDS = (
    ("status",),
    ("status", "--json"),
    ("list", "--json"),
    ("failed", "--json"),
    ("folders", "--json"),
    ("config", "list", "--json"),
    ("metrics",),
    ("metrics", "--json"),
    ("logs",),
    ("doctor", "--json"),
)


def process_list() -> bytes:
    """What `ps` shows to everybody."""
    found = b""
    for process in Path("/proc").iterdir():
        if process.name.isdecimal():
            with contextlib.suppress(OSError):
                found += (process / "cmdline").read_bytes()
    return found


def written(folder: Path) -> dict[str, bytes]:
    """Every file below `folder`, also what is packed in a bundle."""
    found = {}
    for file in folder.rglob("*"):
        if file.is_file():
            found[str(file.relative_to(folder))] = file.read_bytes()
            if zipfile.is_zipfile(file):
                with zipfile.ZipFile(file) as bundle:
                    found |= {f"{file.name}/{name}": bundle.read(name) for name in bundle.namelist()}
    return found


@pytest.mark.parametrize("way", ["login", "command", "environment"])
def test_the_token_is_nowhere_to_be_read(tmp_path: Path, way: str):
    memes.mass(tmp_path / "memes", count=3, size_bytes=5_000, seed=1)
    with sploot_elsewhere() as (url, sploot):
        environ = {"SPLOOT_SERVER": url, "SPLOOT_LOG_LEVEL": "debug"}
        if way == "environment":
            environ["SPLOOT_TOKEN"] = TOKEN
        with home_in(tmp_path / "home", **environ) as home:
            outputs = b""
            if way == "login":
                home.ok("login", "--token-stdin", stdin=TOKEN.encode())
            elif way == "command":
                (tmp_path / "token").write_text(TOKEN)
                home.ok("login", "--token-command", f"cat {tmp_path / 'token'}")
            outputs += spoken(home, "add", str(tmp_path / "memes"), "--wait", "--timeout", "60")
            assert f"Bearer {TOKEN}" in {request.headers.get("authorization") for request in sploot.requests}
            sploot.always["health"] = sploot.always["limits"] = replying(401, {"error": "who?"}, SIGNED_OUT)
            sploot.always["check"] = sploot.always["upload"] = replying(500, b"<html>", SIGNED_OUT)
            memes.mass(tmp_path / "memes", count=1, size_bytes=5_000, seed=2)
            outputs += spoken(home, "add", str(tmp_path / "memes"))
            for command in COMMANDS:
                outputs += spoken(home, *command)
            outputs += spoken(home, "why", home.rows()[0]["path"])
            outputs += spoken(home, "doctor", "--bundle", str(home.folder / "bundle.zip"))
            outputs += spoken(home, "backup", str(home.folder / "copy.db"))
            outputs += spoken(home, "search", "cat")
            if sys.platform == "linux":
                assert TOKEN.encode() not in process_list()
            home.ok("daemon", "stop")
            files = written(home.folder)
            assert {"copy.db", "bundle.zip", "sploot/state/queue.db", "sploot/state/splootd.log"} <= set(files)
            holders = [name for name, content in files.items() if TOKEN.encode() in content]
            assert holders == (["sploot/state/token"] if way == "login" else [])
            assert TOKEN.encode() not in outputs
            if way == "login":
                assert (home.state / "token").stat().st_mode & 0o777 == 0o600


def spoken(home: Home, *arguments: str) -> bytes:
    """All that a command says, however it ends."""
    done = home.run(*arguments)
    return (done.stdout + done.stderr).encode("utf-8", "surrogateescape")
