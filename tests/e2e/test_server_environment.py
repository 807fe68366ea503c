"""Mistakes in addresses and environments cost nothing: files are queued, and each command names the cause."""

import os
import pty
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from temp_home import PNG, POLL_S, Home, home_in

A, B = "http://127.0.0.1:9", "http://127.0.0.1:11"
SLOW_S = 30.0  # the fault took 61 s


def meme(home: Home) -> str:
    file = home.folder / "a.png"
    file.write_bytes(PNG + b"rest of a picture")
    return str(file)


def wait_for_detail(home: Home) -> str:
    """Return what `status` says about the server, once it says something."""
    deadline = time.monotonic() + 60
    while not (detail := home.json("status")["server"]["detail"]):
        assert time.monotonic() < deadline
        time.sleep(POLL_S)
    return str(detail)


@pytest.mark.parametrize(
    ("variable", "server", "cause"),
    [
        ("ALL_PROXY=socks5://127.0.0.1:9", "http://a.example", "unset ALL_PROXY, or pip install 'sploot[socks]'"),
        ("http_proxy=ftp://127.0.0.1:9", "http://a.example", "correct or unset http_proxy"),
        ("SSL_CERT_FILE=/gone.pem", "https://a.example", "/gone.pem (SSL_CERT_FILE) cannot be loaded"),
        ("http_proxy=http://127.0.0.1:9", "http://a.example", "the proxy http://127.0.0.1:9 (http_proxy) refuses"),
    ],
)
def test_an_unusable_proxy_or_certificate_file_lets_the_daemon_queue_and_is_named_everywhere(
    tmp_path: Path, variable: str, server: str, cause: str
):
    name, value = variable.split("=")
    with home_in(tmp_path / "home", SPLOOT_SERVER=server, **{name: value}) as home:
        file = meme(home)
        home.ok("add", file)
        assert cause in wait_for_detail(home)
        status = home.json("status")
        assert status["items"]["pending"] + status["items"]["uploading"] == 1
        deadline = time.monotonic() + 60
        while "Waiting until the file stops changing" in (why := home.ok("why", file)):
            assert time.monotonic() < deadline
            time.sleep(POLL_S)
        assert cause in why
        assert cause in home.run("doctor", "--no-self-test").stdout
        if "proxy" in name.lower():
            assert f"through the proxy {value} ({name})" in home.ok("status")


def test_add_refuses_a_sploot_server_that_the_daemon_does_not_upload_to(tmp_path: Path):
    with home_in(tmp_path / "home", SPLOOT_SERVER=A) as home:
        home.ok("status")
        other = Home(home.folder, {"SPLOOT_SERVER": B})
        refused = other.run("add", meme(home))
        assert refused.returncode != 0
        assert f"the daemon uploads to {A}, but SPLOOT_SERVER is {B}" in refused.stderr
        assert home.json("status")["items"]["total"] == 0
        mismatch = f"SPLOOT_SERVER is {B}, but the running daemon uploads to {A}"
        assert mismatch in other.run("config", "list").stderr
        assert mismatch in other.run("doctor", "--no-self-test").stdout
        home.ok("add", meme(home))
        unset = Home(home.folder)
        unset.ok("add", meme(home))
        assert "uploads to" not in unset.run("config", "list").stderr


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Home]:
    """The home of a login session: the socket is in XDG_RUNTIME_DIR."""
    runtime = tmp_path / "runtime"
    runtime.mkdir(mode=0o700)
    with home_in(tmp_path / "home", SPLOOT_HOME="", SPLOOT_SERVER=A, XDG_RUNTIME_DIR=str(runtime)) as home:
        yield home


def test_a_cron_job_without_xdg_runtime_dir_finds_the_running_daemon_at_once(session: Home):
    pid = session.json("status")["daemon"]["pid"]
    cron = Home(session.folder, {"SPLOOT_HOME": "", "SPLOOT_SERVER": A})
    started_at = time.monotonic()
    assert cron.json("status")["daemon"]["pid"] == pid
    cron.ok("add", meme(session))
    assert session.json("status")["items"]["total"] == 1
    assert "The daemon stopped." in cron.ok("daemon", "stop")
    assert time.monotonic() - started_at < SLOW_S
    assert "not running" in session.ok("daemon", "stop")


def watch_a_folder(home: Home) -> Path:
    folder = home.folder / "memes"
    folder.mkdir()
    home.ok("add", str(folder))
    return folder


def test_a_changed_server_says_what_it_will_send_there(tmp_path: Path):
    with home_in(tmp_path / "home") as home:
        home.ok("config", "set", "server", A)  # nothing is watched, so nothing is said
        folder = watch_a_folder(home)
        done = home.run("config", "set", "server", B)
        assert (done.returncode, home.json("config", "get", "server")) == (0, B)
        assert f"All files of 1 watched folder ({folder}) will be uploaded to {B}." in done.stderr


@pytest.mark.parametrize(("answer", "server"), [("n", A), ("", A), ("y", B)])
def test_a_changed_server_is_confirmed_on_a_terminal(tmp_path: Path, answer: str, server: str):
    with home_in(tmp_path / "home") as home:
        home.ok("config", "set", "server", A)
        watch_a_folder(home)
        ours, theirs = pty.openpty()
        command = home.command("config", "set", "server", B)
        setting = subprocess.Popen(
            command, env=home.variables(), stdin=theirs, stderr=theirs, stdout=subprocess.DEVNULL
        )
        os.close(theirs)
        shown = b""
        while b"Continue? [y/N]" not in shown:
            shown += os.read(ours, 4096)
        os.write(ours, f"{answer}\n".encode())
        setting.wait(60)
        os.close(ours)
        assert home.json("config", "get", "server") == server
