"""`sploot doctor`: it finds problems, prints the command that fixes each, and its bundle contains no secrets."""

import ctypes
import errno
import json
import os
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sploot.support_bundle import Redactor, _read_log_tail, _traceback_locations
from store_fixtures import damage
from temp_home import PNG, POLL_S, Home, home_in

from splootd.control import doctor

UNREACHABLE = "http://127.0.0.1:1"
TOKEN = "hush-hush-and-never-tell"
MANY = 2_000  # with so many items the integrity check only runs with --thorough


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    with home_in(tmp_path / "home", SPLOOT_SERVER=UNREACHABLE, SPLOOT_TOKEN=TOKEN) as home:
        yield home


def run_doctor(home: Home, *arguments: str) -> dict[str, dict[str, Any]]:
    """Return the findings by check; of several for one check, the last."""
    done = home.run("doctor", "--json", *arguments)
    findings = json.loads(done.stdout)["findings"]
    has_error = any(each["state"] == "error" for each in findings)
    assert done.returncode == (4 if has_error else 0), done.stderr
    assert all(each["command"] for each in findings if each["state"] == "error")
    return {each["check"]: each for each in findings}


def test_an_unreachable_server_is_found_and_all_other_checks_still_run(home: Home):
    findings = run_doctor(home)
    assert findings["server"]["state"] == "error"
    assert findings["self-test"]["state"] == "error"
    assert findings["connection"]["state"] == "error"
    assert findings["database"]["state"] == "ok"
    assert findings["disk"]["state"] in ("ok", "warning")
    assert "SQLite" in findings["versions"]["message"]
    assert findings["socket"]["state"] == "ok"


def test_a_missing_folder_is_found_and_the_command_does_not_forget_it(home: Home):
    folder = home.folder / "memes"
    folder.mkdir()
    home.ok("add", str(folder))
    assert run_doctor(home, "--no-self-test")["folder"]["state"] == "ok"
    shutil.rmtree(folder)
    missing = run_doctor(home, "--no-self-test")["folder"]
    assert (missing["state"], missing["command"]) == ("error", "sploot folders")
    assert "mount its disk again; if it is gone for good, run: sploot folders remove" in missing["message"]


@pytest.fixture
def dead_mount(tmp_path: Path) -> Iterator[Path]:
    """A FUSE file system whose daemon has ended."""
    folder = tmp_path / "mount point"
    folder.mkdir()
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        fd = os.open("/dev/fuse", os.O_RDWR)
    except OSError:
        pytest.skip("no FUSE here")
    options = f"fd={fd},rootmode=40000,user_id=0,group_id=0".encode()
    mounted = libc.mount(b"test", os.fsencode(folder), b"fuse", 0, options)
    os.close(fd)
    if mounted != 0:
        pytest.skip("this user may not mount file systems")
    yield folder
    subprocess.run(["umount", folder], check=False)


def test_a_dead_mount_is_named_alike_in_status_doctor_and_add(home: Home, tmp_path: Path, request: Any):
    folder = tmp_path / "mount point"
    folder.mkdir()
    home.ok("add", str(folder))
    home.ok("daemon", "stop")
    folder.rmdir()
    request.getfixturevalue("dead_mount")
    while "there has gone" not in (status := home.ok("status")):
        time.sleep(POLL_S)
    remedy = "what is mounted there has gone: unmount and mount it again"
    assert status.count(remedy) == 2  # at the folder and among the required actions
    found = run_doctor(home, "--no-self-test")["folder"]
    assert remedy in found["message"]
    assert remedy in home.run("add", str(folder)).stderr
    subprocess.run(found["command"], shell=True, check=True)
    home.ok("add", str(folder))


def test_a_file_that_other_users_can_read_is_found(home: Home):
    home.ok("status")
    (home.state / "token").write_text("{}")
    (home.state / "token").chmod(0o644)
    directories = run_doctor(home, "--no-self-test")["directories"]
    assert (directories["state"], directories["command"]) == ("error", f"chmod go= {home.state / 'token'}")


def test_without_a_daemon_the_local_checks_still_run(home: Home):
    file = Path(home.ok("config", "path").strip())
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("connections = 9\n")
    findings = run_doctor(home)
    assert findings["configuration"]["state"] == "error"
    assert "`connections` to 9" in findings["daemon"]["message"]
    assert findings["socket"]["state"] == "ok"


def test_output_for_people_has_one_line_and_one_command_per_finding(home: Home):
    done = home.run("doctor", "--no-self-test")
    assert done.returncode == 4
    assert "error   server" in done.stdout
    assert "-> sploot service install" in done.stdout
    assert "\nok " not in done.stdout, "what is well is shown only on request"
    assert done.stdout.splitlines()[-1].endswith(" checks passed.")
    assert "\nok      database" in home.run("doctor", "--no-self-test", "-v").stdout


def test_hidden_damage_is_found_by_a_thorough_check_and_fixed_by_its_command(home: Home):
    home.queue_and_hold(MANY)
    while home.json("status")["delayed"]:  # the end of their settle time touches all rows, the damaged ones, too
        time.sleep(POLL_S)
    assert (
        run_doctor(home, "--no-self-test", "--thorough")["database"]["message"]
        == "the database passed its integrity check"
    )
    home.ok("daemon", "stop")
    damage(home.state / "queue.db", "items")
    database = run_doctor(home, "--no-self-test")["database"]
    assert (database["state"], "passed its integrity check" in database["message"]) == ("ok", True)
    database = run_doctor(home, "--no-self-test", "--thorough")["database"]
    assert (database["state"], database["command"]) == ("error", "sploot daemon restart")
    assert "queue.db is damaged" in database["message"]
    assert run_doctor(home, "--no-self-test")["database"]["command"] == "sploot doctor --thorough"
    home.ok("daemon", "restart")
    (need,) = [
        each for each in home.json("status")["actions_required"] if "the queue database was damaged" in each["what"]
    ]
    assert need["command"] == "sploot resume"
    assert run_doctor(home, "--no-self-test")["database"]["state"] == "ok"


def test_a_bundle_contains_no_token_no_file_names_and_no_server_url(home: Home):
    folder = home.folder / "private folder"
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
        for private in (TOKEN, "private folder", "embarrassing", str(home.folder), "127.0.0.1", os.uname().nodename):
            assert private not in text, name
    assert json.loads(parts["status.json"])["items"]["total"] == 1
    assert '"event": "started"' in parts["log.jsonl"]
    assert "the database passed its integrity check" in parts["doctor.json"]


def test_the_same_name_is_the_same_hash_within_one_bundle_and_no_other():
    redactor, other = Redactor(), Redactor()
    assert redactor.redact({"path": "/a/cat.png", "level": "info", "size": 3}) == {
        "path": redactor.hash_text("/a/cat.png"),
        "level": "info",
        "size": 3,
    }
    assert redactor.hash_text("/a/cat.png") != other.hash_text("/a/cat.png")


def test_a_redacted_traceback_keeps_its_locations_and_drops_its_message(tmp_path: Path):
    trace = (
        'Traceback (most recent call last):\n  File "/home/me/x/uploader.py", line 12, in run\n'
        "    open('/home/me/cat.png')\nFileNotFoundError: [Errno 2] No such file: '/home/me/cat.png'\n"
    )
    assert _traceback_locations(trace) == ["uploader.py:12 run"]
    log = tmp_path / "log"
    log.write_text("torn line\n" + json.dumps({"event": "it failed", "exception": trace, "item": 7}) + "\n[1]\n")
    (line,) = _read_log_tail(log, Redactor())
    assert json.loads(line) == {"event": "it failed", "item": 7, "exception": ["uploader.py:12 run"]}


def test_a_folder_protected_by_macos_differs_from_one_without_permission(monkeypatch: pytest.MonkeyPatch):
    def refuse_with(number: int) -> None:
        def scandir(folder: bytes) -> None:
            raise OSError(number, os.strerror(number), folder)

        monkeypatch.setattr(os, "scandir", scandir)

    monkeypatch.setattr(sys, "platform", "darwin")
    refuse_with(errno.EPERM)
    protected = doctor._check_folder_readable(b"/Users/ann/Downloads")
    assert protected is not None
    assert f"allow {sys.executable} in System Settings" in protected.message
    assert (protected.command or "").startswith("open 'x-apple.systempreferences:")
    refuse_with(errno.EACCES)
    closed = doctor._check_folder_readable(b"/Users/ann/Downloads")
    assert closed is not None
    assert closed.command == "chmod u+rx /Users/ann/Downloads"


@pytest.mark.models
def test_all_checks_pass_with_the_local_server(tmp_path: Path):
    with home_in(tmp_path / "home") as home:
        findings = run_doctor(home)
        assert findings["self-test"] == {
            "check": "self-test",
            "state": "ok",
            "message": "an image was uploaded, found and deleted",
            "command": None,
        }
        assert findings["server"]["state"] == "ok"
        assert list(home.originals()) == []
        assert home.rows() == []


def test_a_configuration_that_others_can_write_is_reported(home: Home):
    """Its `token_command` runs as this user."""
    folder = home.folder / "sploot"
    folder.mkdir()
    folder.chmod(0o777)
    try:
        found = home.run("doctor", "--no-self-test").stdout
    finally:
        folder.chmod(0o700)
    assert f"other users can write to {folder}" in found
    assert f"chmod go-w {folder}" in found
