"""The token appears only where it must: not in the queue, the log, the process list, any output or the bundle."""

import contextlib
import sys
import zipfile
from pathlib import Path

import memes
import pytest
from scripted_sploot import SIGNED_OUT, reply_with, run_scripted_sploot
from temp_home import Home, home_in

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
    """Return the command lines that every user can read with `ps`."""
    contents = b""
    for process in Path("/proc").iterdir():
        if process.name.isdecimal():
            with contextlib.suppress(OSError):
                contents += (process / "cmdline").read_bytes()
    return contents


def files_below(folder: Path) -> dict[str, bytes]:
    """Return every file below `folder`, including the contents of archives."""
    contents = {}
    for file in folder.rglob("*"):
        if file.is_file():
            contents[str(file.relative_to(folder))] = file.read_bytes()
            if zipfile.is_zipfile(file):
                with zipfile.ZipFile(file) as bundle:
                    contents |= {f"{file.name}/{name}": bundle.read(name) for name in bundle.namelist()}
    return contents


@pytest.mark.parametrize("method", ["login", "command", "environment"])
def test_the_token_is_not_disclosed(tmp_path: Path, method: str):
    memes.mass(tmp_path / "memes", count=3, size_bytes=5_000, seed=1)
    with run_scripted_sploot() as (url, sploot):
        environ = {"SPLOOT_SERVER": url, "SPLOOT_LOG_LEVEL": "debug"}
        if method == "environment":
            environ["SPLOOT_TOKEN"] = TOKEN
        with home_in(tmp_path / "home", **environ) as home:
            outputs = b""
            if method == "login":
                home.ok("login", "--token-stdin", stdin=TOKEN.encode())
            elif method == "command":
                (tmp_path / "token").write_text(TOKEN)
                home.ok("login", "--token-command", f"cat {tmp_path / 'token'}")
            outputs += output_of(home, "add", str(tmp_path / "memes"), "--wait", "--timeout", "60")
            assert f"Bearer {TOKEN}" in {request.headers.get("authorization") for request in sploot.requests}
            sploot.always["health"] = sploot.always["limits"] = reply_with(401, {"error": "who?"}, SIGNED_OUT)
            sploot.always["check"] = sploot.always["upload"] = reply_with(500, b"<html>", SIGNED_OUT)
            memes.mass(tmp_path / "memes", count=1, size_bytes=5_000, seed=2)
            outputs += output_of(home, "add", str(tmp_path / "memes"))
            for command in COMMANDS:
                outputs += output_of(home, *command)
            outputs += output_of(home, "why", home.rows()[0]["path"])
            outputs += output_of(home, "doctor", "--bundle", str(home.folder / "bundle.zip"))
            outputs += output_of(home, "backup", str(home.folder / "copy.db"))
            outputs += output_of(home, "search", "cat")
            if sys.platform == "linux":
                assert TOKEN.encode() not in process_list()
            home.ok("daemon", "stop")
            files = files_below(home.folder)
            assert {"copy.db", "bundle.zip", "sploot/state/queue.db", "sploot/state/splootd.log"} <= set(files)
            holders = [name for name, content in files.items() if TOKEN.encode() in content]
            assert holders == (["sploot/state/token"] if method == "login" else [])
            assert TOKEN.encode() not in outputs
            if method == "login":
                assert (home.state / "token").stat().st_mode & 0o777 == 0o600


def output_of(home: Home, *arguments: str) -> bytes:
    """Return all output of a command, whatever its exit code."""
    done = home.run(*arguments)
    return (done.stdout + done.stderr).encode("utf-8", "surrogateescape")
