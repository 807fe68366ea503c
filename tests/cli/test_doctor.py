"""`sploot doctor`: what is not well is found, the command that mends it is said, and a report gives nobody away."""

import errno
import json
import os
import shutil
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from homes import PNG, Home, home_in
from sploot.bundle import Mask, _log, _places_in
from storekit import damage

from splootd.control import doctor

NOBODY = "http://127.0.0.1:1"
TOKEN = "hush-hush-and-never-tell"
MANY = 2_000  # so many that the database is not read through whenever the doctor is asked


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    with home_in(tmp_path / "home", SPLOOT_SERVER=NOBODY, SPLOOT_TOKEN=TOKEN) as home:
        yield home


def found(home: Home, *arguments: str) -> dict[str, dict[str, Any]]:
    """The findings by check; of several of one check, the last."""
    said = home.run("doctor", "--json", *arguments)
    findings = json.loads(said.stdout)["findings"]
    bad = any(each["state"] == "bad" for each in findings)
    assert said.returncode == (4 if bad else 0), said.stderr
    assert all(each["command"] for each in findings if each["state"] == "bad")
    return {each["check"]: each for each in findings}


def test_a_server_that_cannot_be_reached_is_found_and_the_rest_is_looked_at_all_the_same(home: Home):
    findings = found(home)
    assert findings["server"]["state"] == "bad"
    assert findings["self-test"]["state"] == "bad"
    assert findings["line"]["state"] == "bad"
    assert findings["database"]["state"] == "ok"
    assert findings["disk"]["state"] in ("ok", "note")
    assert "SQLite" in findings["versions"]["says"]
    assert findings["socket"]["state"] == "ok"


def test_a_folder_that_is_gone_is_found_with_the_command_that_helps(home: Home):
    folder = home.folder / "memes"
    folder.mkdir()
    home.ok("add", str(folder))
    assert found(home, "--no-self-test")["folder"]["state"] == "ok"
    shutil.rmtree(folder)
    gone = found(home, "--no-self-test")["folder"]
    assert (gone["state"], gone["command"]) == ("bad", f"sploot folders remove {folder}")


def test_what_others_may_read_is_found(home: Home):
    home.ok("status")
    (home.state / "token").write_text("{}")
    (home.state / "token").chmod(0o644)
    places = found(home, "--no-self-test")["places"]
    assert (places["state"], places["command"]) == ("bad", f"chmod go= {home.state / 'token'}")


def test_without_a_daemon_the_rest_is_found_all_the_same(home: Home):
    file = Path(home.ok("config", "path").strip())
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("connections = 9\n")
    findings = found(home)
    assert findings["configuration"]["state"] == "bad"
    assert "`connections` to 9" in findings["daemon"]["says"]
    assert findings["socket"]["state"] == "ok"


def test_people_are_shown_lines_and_commands(home: Home):
    done = home.run("doctor", "--no-self-test")
    assert done.returncode == 4
    assert "bad   server" in done.stdout
    assert "-> sploot service install" in done.stdout


def test_damage_that_nobody_has_met_is_found_by_reading_all_and_mended_by_the_command_that_is_said(home: Home):
    home.queue_and_hold(MANY)
    assert found(home, "--no-self-test", "--thorough")["database"]["says"] == "the queue's database holds together"
    home.ok("daemon", "stop")
    damage(home.state / "queue.db", "items")
    database = found(home, "--no-self-test")["database"]
    assert (database["state"], "held together when it was read through" in database["says"]) == ("ok", True)
    database = found(home, "--no-self-test", "--thorough")["database"]
    assert (database["state"], database["command"]) == ("bad", "sploot daemon restart")
    assert "queue.db is damaged" in database["says"]
    assert found(home, "--no-self-test")["database"]["command"] == "sploot doctor --thorough"
    home.ok("daemon", "restart")
    (need,) = [each for each in home.json("status")["needs_you"] if "the queue's file was damaged" in each["what"]]
    assert need["command"] == "sploot resume"
    assert found(home, "--no-self-test")["database"]["state"] == "ok"


def test_a_bundle_holds_neither_token_nor_names_nor_the_server(home: Home):
    folder = home.folder / "secret folder"
    folder.mkdir()
    (folder / "embarrassing cat.png").write_bytes(PNG)
    home.ok("add", str(folder))
    home.ok("add", str(folder / "embarrassing cat.png"))
    home.ok("config", "set", "token_command", f"echo {TOKEN}")
    home.run("why", str(folder / "embarrassing cat.png"))
    file = home.folder / "report.zip"
    assert home.run("doctor", "--no-self-test", "--bundle", str(file)).returncode == 4
    with zipfile.ZipFile(file) as archive:
        parts = {name: archive.read(name).decode() for name in archive.namelist()}
    assert set(parts) == {"versions.json", "doctor.json", "configuration.json", "status.json", "log.jsonl"}
    for name, text in parts.items():
        for secret in (TOKEN, "secret folder", "embarrassing", str(home.folder), "127.0.0.1", os.uname().nodename):
            assert secret not in text, name
    assert json.loads(parts["status.json"])["items"]["total"] == 1
    assert '"event": "started"' in parts["log.jsonl"]
    assert "the queue's database holds together" in parts["doctor.json"]


def test_the_same_name_is_the_same_hash_within_one_bundle_and_no_other():
    mask, other = Mask(), Mask()
    assert mask.masked({"path": "/a/cat.png", "level": "info", "size": 3}) == {
        "path": mask.hashed("/a/cat.png"),
        "level": "info",
        "size": 3,
    }
    assert mask.hashed("/a/cat.png") != other.hashed("/a/cat.png")


def test_of_a_traceback_stays_where_it_went_and_not_what_it_said(tmp_path: Path):
    trace = (
        'Traceback (most recent call last):\n  File "/home/me/x/uploader.py", line 12, in run\n'
        "    open('/home/me/cat.png')\nFileNotFoundError: [Errno 2] No such file: '/home/me/cat.png'\n"
    )
    assert _places_in(trace) == ["uploader.py:12 run"]
    log = tmp_path / "log"
    log.write_text("torn line\n" + json.dumps({"event": "it failed", "exception": trace, "item": 7}) + "\n[1]\n")
    (line,) = _log(log, Mask())
    assert json.loads(line) == {"event": "it failed", "item": 7, "exception": ["uploader.py:12 run"]}


def test_a_folder_that_macos_protects_is_told_from_one_that_is_closed(monkeypatch: pytest.MonkeyPatch):
    def refusing(number: int) -> None:
        def scandir(folder: bytes) -> None:
            raise OSError(number, os.strerror(number), folder)

        monkeypatch.setattr(os, "scandir", scandir)

    monkeypatch.setattr(sys, "platform", "darwin")
    refusing(errno.EPERM)
    protected = doctor._refusal(b"/Users/ann/Downloads")
    assert protected is not None
    assert f"allow {sys.executable} in System Settings" in protected.says
    assert (protected.command or "").startswith("open 'x-apple.systempreferences:")
    refusing(errno.EACCES)
    closed = doctor._refusal(b"/Users/ann/Downloads")
    assert closed is not None
    assert closed.command == "chmod u+rx /Users/ann/Downloads"


@pytest.mark.models
def test_all_is_well_with_the_library_on_this_machine(tmp_path: Path):
    with home_in(tmp_path / "home") as home:
        findings = found(home)
        assert findings["self-test"] == {
            "check": "self-test",
            "state": "ok",
            "says": "a picture was sent, found and deleted again",
            "command": None,
        }
        assert findings["server"]["state"] == "ok"
        assert list(home.originals()) == []
        assert home.rows() == []
