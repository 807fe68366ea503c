"""The web UI with the real programs: `sploot ui`, sessions across daemon restarts, browser uploads."""

import os
import signal
import socket
import stat
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import memes
import pytest
from scripted_sploot import ScriptedSploot, run_scripted_sploot
from temp_home import Home, home_in

from splootd.web.browser_upload import PART_PREFIX

READY_S_MAX = 60.0


@pytest.fixture
def sploot() -> Iterator[tuple[str, ScriptedSploot]]:
    with run_scripted_sploot() as url_and_server:
        yield url_and_server


@pytest.fixture
def home(tmp_path: Path, sploot: tuple[str, ScriptedSploot]) -> Iterator[Home]:
    with home_in(tmp_path / "home", SPLOOT_SERVER=sploot[0], SPLOOT_TOKEN="tok-5ecret") as home:
        yield home


@pytest.fixture
def browser(home: Home) -> Iterator[httpx.Client]:
    url = home.json("ui", "--no-open")["url"]
    origin = url.partition("/login")[0]
    with httpx.Client(base_url=origin, headers={"Origin": origin, "X-Sploot-UI": "1"}, timeout=60) as browser:
        assert browser.get(url).status_code == 303
        yield browser


def only_upload(home: Home) -> Path:
    """Return the one file in the upload folder."""
    (file,) = (path for path in (home.state / "browser-uploads").iterdir() if path.is_file())
    return file


def until(browser: httpx.Client, is_reached: Callable[[], bool]) -> None:
    """Wait until the daemon, which answers meanwhile, has reached a state."""
    deadline = time.monotonic() + READY_S_MAX
    while not is_reached():
        assert time.monotonic() < deadline, browser.get("/v1/items").json()
        browser.get("/v1/status")


def until_ready(browser: httpx.Client, count: int) -> None:
    until(browser, lambda: browser.get("/v1/status").json()["items"]["ready"] == count)


def test_ui_prints_the_url_and_opens_a_browser(home: Home, tmp_path: Path):
    opened = tmp_path / "opened"
    browser = tmp_path / "browser"
    browser.write_text(
        f"#!{sys.executable}\nimport pathlib, sys\npathlib.Path({str(opened)!r}).write_text(sys.argv[1])\n"
    )
    browser.chmod(0o755)
    home.environ["BROWSER"] = f"{browser} %s"
    printed = home.ok("ui").strip()
    assert opened.read_text() == printed
    assert printed.startswith("http://127.0.0.1:")
    opened.unlink()
    home.ok("ui", "--no-open")
    assert not opened.exists()


def test_ui_prints_the_url_if_no_browser_can_be_opened(home: Home):
    home.environ["BROWSER"] = "/nowhere/browser"
    home.environ["PATH"] = "/nowhere"
    done = home.run("ui")
    assert done.returncode == 0
    assert done.stdout.startswith("http://127.0.0.1:")
    assert "Open the URL yourself" in done.stderr


def test_an_occupied_port_is_reported(home: Home):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        home.ok("config", "set", "ui_port", str(other.getsockname()[1]))
        done = home.run("ui", "--no-open")
    assert done.returncode != 0
    assert "the web UI cannot be opened" in done.stderr
    assert "sploot config set ui_port 0" in done.stderr


def test_a_session_outlives_the_daemon(home: Home, browser: httpx.Client):
    before = browser.get("/v1/status")
    assert home.kill_daemon(signal.SIGKILL)
    with pytest.raises(httpx.TransportError):
        browser.get("/v1/status")
    home.ok("status")
    after = browser.get("/v1/status")
    assert after.status_code == 200
    assert after.headers["sploot-instance-id"] != before.headers["sploot-instance-id"]


def test_session_secrets_are_private_and_stored_in_one_file_only(home: Home, browser: httpx.Client):
    token = home.json("ui", "--no-open")["url"].partition("token=")[2]
    state_file = home.state / "web-ui.json"
    assert stat.S_IMODE(state_file.stat().st_mode) == 0o600
    (cookie,) = browser.cookies.jar
    assert cookie.value
    browser.get("/v1/status")
    assert browser.get("/v1/nothing").status_code == 404
    home.ok("daemon", "stop")
    written = {file: file.read_bytes() for file in home.folder.rglob("*") if file.is_file()}
    for secret in (token, cookie.value, cookie.value.partition(".")[2]):
        assert not [file for file, content in written.items() if secret.encode() in content]
    secret = state_file.read_text().partition('"secret": "')[2].partition('"')[0]
    assert [file for file, content in written.items() if secret.encode() in content] == [state_file]


def test_the_server_token_never_reaches_the_browser(browser: httpx.Client, sploot: tuple[str, ScriptedSploot]):
    paths = ("/v1/library", "/v1/status", "/v1/report", "/v1/doctor", "/v1/library/a/original", "/v1/library?text=a")
    received = b"".join(reply.content + str(reply.headers).encode() for reply in map(browser.get, paths))
    assert "Bearer tok-5ecret" in {request.headers.get("authorization") for request in sploot[1].requests}
    assert b"tok-5ecret" not in received


def test_reset_ends_all_sessions(home: Home, browser: httpx.Client):
    home.ok("ui", "--no-open", "--reset")
    assert browser.get("/v1/status").status_code == 401
    assert home.kill_daemon(signal.SIGKILL)
    home.ok("status")
    assert browser.get("/v1/status").status_code == 401


def test_an_uploaded_file_is_sent_and_moved_to_the_sent_folder(
    home: Home, browser: httpx.Client, sploot: tuple[str, ScriptedSploot], tmp_path: Path
):
    memes.mass(tmp_path / "memes", count=3, size_bytes=5_000, seed=5)
    for file in sorted((tmp_path / "memes").iterdir()):
        reply = browser.put("/v1/upload", params={"name": f"same{file.suffix}"}, content=file.read_bytes())
        assert reply.json()["outcome"] == "queued"
    until_ready(browser, 3)
    assert len(sploot[1].stored) == 3
    uploads = home.state / "browser-uploads"
    until(browser, lambda: not any(path.is_file() for path in uploads.iterdir()))
    assert sorted(path.read_bytes() for path in (uploads / ".sent").iterdir()) == sorted(
        path.read_bytes() for path in (tmp_path / "memes").iterdir()
    )
    assert not [path for path in uploads.iterdir() if path.is_file()]


def test_an_upload_interrupted_by_a_crash_leaves_no_file(home: Home, browser: httpx.Client):
    with socket.create_connection(("127.0.0.1", browser.base_url.port or 0), timeout=60) as connection:
        (cookie,) = browser.cookies.jar
        connection.sendall(
            f"PUT /v1/upload?name=half.png HTTP/1.1\r\nHost: 127.0.0.1:{browser.base_url.port}\r\n"
            f"Cookie: {cookie.name}={cookie.value}\r\nOrigin: {str(browser.base_url).rstrip('/')}\r\n"
            "X-Sploot-UI: 1\r\nContent-Length: 9000000\r\n\r\n".encode()
            + b"\x89PNG\r\n\x1a\n"
            + b"x" * 2_000_000
        )
        until(browser, lambda: any((home.state / "browser-uploads").glob(f"{PART_PREFIX}*")))
        assert only_upload(home).name.startswith(PART_PREFIX)
        assert home.kill_daemon(signal.SIGKILL)
    home.ok("status")
    browser.put("/v1/upload", params={"name": "next.txt"}, content=b"waits for the recovery")
    assert [path for path in (home.state / "browser-uploads").iterdir() if path.is_file()] == []
    assert home.rows() == []


def test_a_request_without_a_session_is_rejected(home: Home, browser: httpx.Client):
    response = httpx.get(browser.base_url.join("/v1/status"))
    assert response.status_code == 401
    assert os.fsencode(str(home.folder)) not in response.content
