"""The page with the real programs: `sploot ui` opens it, an open one outlives the daemon, what is dropped arrives."""

import os
import signal
import socket
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import memes
import pytest
from homes import Home, home_in
from scripted import Scripted, sploot_elsewhere

from splootd.page.drop import PART

LOOKS_MAX = 400  # each is a request, so a look takes a moment


@pytest.fixture
def sploot() -> Iterator[tuple[str, Scripted]]:
    with sploot_elsewhere() as there:
        yield there


@pytest.fixture
def home(tmp_path: Path, sploot: tuple[str, Scripted]) -> Iterator[Home]:
    with home_in(tmp_path / "home", SPLOOT_SERVER=sploot[0], SPLOOT_TOKEN="tok-5ecret") as home:
        yield home


@pytest.fixture
def browser(home: Home) -> Iterator[httpx.Client]:
    url = home.json("ui", "--no-open")["url"]
    origin = url.partition("/enter")[0]
    with httpx.Client(base_url=origin, headers={"Origin": origin, "X-Sploot-Page": "1"}, timeout=60) as browser:
        assert browser.get(url).status_code == 303
        yield browser


def only(home: Home) -> Path:
    """The one file in which copies wait."""
    (file,) = (path for path in (home.state / "dropped").iterdir() if path.is_file())
    return file


def until_ready(browser: httpx.Client, count: int) -> None:
    for _ in range(LOOKS_MAX):
        if browser.get("/v1/status").json()["items"]["ready"] == count:
            return
    raise AssertionError(browser.get("/v1/items").json())


def test_ui_prints_the_address_and_opens_a_browser(home: Home, tmp_path: Path):
    seen = tmp_path / "seen"
    browser = tmp_path / "browser"
    browser.write_text(
        f"#!{sys.executable}\nimport pathlib, sys\npathlib.Path({str(seen)!r}).write_text(sys.argv[1])\n"
    )
    browser.chmod(0o755)
    home.environ["BROWSER"] = f"{browser} %s"
    printed = home.ok("ui").strip()
    assert seen.read_text() == printed
    assert printed.startswith("http://127.0.0.1:")
    seen.unlink()
    home.ok("ui", "--no-open")
    assert not seen.exists()


def test_where_no_browser_can_be_opened_the_address_is_all(home: Home):
    home.environ["BROWSER"] = "/nowhere/browser"
    home.environ["PATH"] = "/nowhere"
    done = home.run("ui")
    assert done.returncode == 0
    assert done.stdout.startswith("http://127.0.0.1:")
    assert "Open that address yourself" in done.stderr


def test_a_port_that_is_taken_is_explained(home: Home):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        home.ok("config", "set", "page_port", str(other.getsockname()[1]))
        done = home.run("ui", "--no-open")
    assert done.returncode != 0
    assert "the page cannot be opened" in done.stderr
    assert "sploot config set page_port 0" in done.stderr


def test_an_open_page_outlives_its_daemon(home: Home, browser: httpx.Client):
    before = browser.get("/v1/status")
    assert home.kill_daemon(signal.SIGKILL)
    with pytest.raises(httpx.TransportError):
        browser.get("/v1/status")
    home.ok("status")
    after = browser.get("/v1/status")
    assert after.status_code == 200
    assert after.headers["sploot-boot-id"] != before.headers["sploot-boot-id"]


def test_the_keys_of_the_page_are_the_users_alone_and_written_nowhere_else(home: Home, browser: httpx.Client):
    token = home.json("ui", "--no-open")["url"].partition("token=")[2]
    note = home.state / "page.json"
    assert stat.S_IMODE(note.stat().st_mode) == 0o600
    (cookie,) = browser.cookies.jar
    assert cookie.value
    browser.get("/v1/status")
    assert browser.get("/v1/nothing").status_code == 404
    home.ok("daemon", "stop")
    written = {file: file.read_bytes() for file in home.folder.rglob("*") if file.is_file()}
    for secret in (token, cookie.value, cookie.value.partition(".")[2]):
        assert not [file for file, content in written.items() if secret.encode() in content]
    secret = note.read_text().partition('"secret": "')[2].partition('"')[0]
    assert [file for file, content in written.items() if secret.encode() in content] == [note]


def test_the_browser_is_never_told_the_token_of_the_server(browser: httpx.Client, sploot: tuple[str, Scripted]):
    paths = ("/v1/library", "/v1/status", "/v1/report", "/v1/doctor", "/v1/library/a/original", "/v1/library?text=a")
    said = b"".join(reply.content + str(reply.headers).encode() for reply in map(browser.get, paths))
    assert "Bearer tok-5ecret" in {request.headers.get("authorization") for request in sploot[1].requests}
    assert b"tok-5ecret" not in said


def test_reset_shuts_out_every_browser(home: Home, browser: httpx.Client):
    home.ok("ui", "--no-open", "--reset")
    assert browser.get("/v1/status").status_code == 401
    assert home.kill_daemon(signal.SIGKILL)
    home.ok("status")
    assert browser.get("/v1/status").status_code == 401


def test_what_is_dropped_arrives_and_is_put_away(
    home: Home, browser: httpx.Client, sploot: tuple[str, Scripted], tmp_path: Path
):
    memes.mass(tmp_path / "memes", count=3, size_bytes=5_000, seed=5)
    for file in sorted((tmp_path / "memes").iterdir()):
        reply = browser.put("/v1/drop", params={"name": f"same{file.suffix}"}, content=file.read_bytes())
        assert reply.json()["outcome"] == "queued"
    until_ready(browser, 3)
    assert len(sploot[1].stored) == 3
    dropped = home.state / "dropped"
    for _ in range(LOOKS_MAX):
        if not [path for path in dropped.iterdir() if path.is_file()]:
            break
        browser.get("/v1/status")
    assert sorted(path.read_bytes() for path in (dropped / ".sent").iterdir()) == sorted(
        path.read_bytes() for path in (tmp_path / "memes").iterdir()
    )
    assert not [path for path in dropped.iterdir() if path.is_file()]


def test_a_drop_that_a_crash_interrupts_leaves_nothing_behind(home: Home, browser: httpx.Client):
    with socket.create_connection(("127.0.0.1", browser.base_url.port or 0), timeout=60) as line:
        (cookie,) = browser.cookies.jar
        line.sendall(
            f"PUT /v1/drop?name=half.png HTTP/1.1\r\nHost: 127.0.0.1:{browser.base_url.port}\r\n"
            f"Cookie: {cookie.name}={cookie.value}\r\nOrigin: {str(browser.base_url).rstrip('/')}\r\n"
            "X-Sploot-Page: 1\r\nContent-Length: 9000000\r\n\r\n".encode()
            + b"\x89PNG\r\n\x1a\n"
            + b"x" * 2_000_000
        )
        for _ in range(LOOKS_MAX):
            if list((home.state / "dropped").glob(f"{PART}*")):
                break
            browser.get("/v1/status")
        assert only(home).name.startswith(PART)
        assert home.kill_daemon(signal.SIGKILL)
    home.ok("status")
    browser.put("/v1/drop", params={"name": "next.txt"}, content=b"it waits until the rest is settled")
    assert [path for path in (home.state / "dropped").iterdir() if path.is_file()] == []
    assert home.rows() == []


def test_nobody_else_on_this_machine_is_let_in(home: Home, browser: httpx.Client):
    stranger = httpx.get(browser.base_url.join("/v1/status"))
    assert stranger.status_code == 401
    assert os.fsencode(str(home.folder)) not in stranger.content
