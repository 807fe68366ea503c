"""Each remedy that a message advises is run, and does what the message says."""

import contextlib
import os
import resource
import shlex
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faulty_sploot
import pytest
from pipeline_fixtures import jpeg
from sploot_journal import read_journal
from temp_home import POLL_S, Home, home_in

from splootd.control.remedies import REMEDIES
from splootd.core.error_code import ErrorCode
from splootd.upload.delivery import CHECK_CACHE_TTL_S


@pytest.fixture
def server(tmp_path: Path) -> Iterator[faulty_sploot.Process]:
    with faulty_sploot.running(tmp_path / "journal", "--token-life", "3600") as process:
        yield process


def test_another_account_is_noticed_by_login_and_has_a_queue_of_its_own(
    tmp_path: Path, server: faulty_sploot.Process
) -> None:
    file = tmp_path / "a.jpg"
    file.write_bytes(jpeg("a"))
    anna, ben = server.send_command("token", "user_anna"), server.send_command("token", "user_ben")
    with home_in(tmp_path / "home", SPLOOT_SERVER=server.url) as home:
        assert home.ok("login", "--token-stdin", stdin=anna).strip() == "Token saved."
        home.ok("add", str(file), "--wait", "--timeout", "60")
        (item,) = home.rows()
        said = home.ok("login", "--token-stdin", stdin=ben)
        assert "belongs to another account (user_ben) than before (user_anna)" in said
        assert home.rows() == []
        home.ok("add", str(file), "--wait", "--timeout", "60")
        assert [row["state"] for row in home.rows()] == ["ready"]
        assert "user_anna" in home.ok("login", "--token-stdin", stdin=anna)
        assert home.rows() == [item]


# One scenario for each error code. It brings a file into that state, follows the remedy, and the file becomes ready.


@dataclass
class Case:
    """A home, a server, and one file."""

    home: Home
    server: faulty_sploot.Process
    file: Path

    @property
    def row(self) -> dict[str, Any]:
        """The newest item of the file."""
        return next(row for row in self.home.rows() if row["path"] == str(self.file))

    def add(self, *options: str, content: bytes | None = None) -> None:
        """Add the folder of the file."""
        if content is not None:
            self.file.write_bytes(content)
        self.home.run("add", str(self.file.parent), "--once", "--wait", "--timeout", "60", *options)

    def wait_until(self, *states: str) -> dict[str, Any]:
        end = time.monotonic() + 60.0
        while (row := self.row)["state"] not in states:
            is_over = row["state"] in ("ready", "failed", "skipped", "missing") or time.monotonic() > end
            assert not is_over, row
            time.sleep(POLL_S)
        return row

    def follow(self, error_code: ErrorCode, mend: Callable[[], object] = lambda: None) -> None:
        """Check that the file ended with the error, mend what the remedy says, and run its command."""
        row = self.wait_until("failed", "skipped", "missing")
        assert row["error_code"] == error_code, row
        remedy = row["remedy"]
        assert remedy in self.home.ok("why", str(row["id"]))
        if row["state"] == "failed":
            assert remedy in self.home.ok("failed")
            assert "sploot failed" in [each["command"] for each in self.home.json("status")["actions_required"]]
        mend()
        _, *words = shlex.split(remedy.rpartition(": ")[2])
        assert words[0] in ("retry", "add"), remedy
        self.home.ok(*["better" if word == "TAG" else word for word in words])
        self.wait_until("ready")

    def wait_after(self, error_code: ErrorCode) -> None:
        """Check that the file becomes ready by itself after the error, and that the remedy's command answers."""
        row = self.wait_until("ready")
        history = self.home.json("why", str(row["id"]))["attempts"]
        assert error_code in [each["error_code"] for each in history], history
        _, *words = REMEDIES[error_code].command.split()
        assert self.home.run(*words).returncode in (0, 1)


SMALL = jpeg("small")
LOOKED_UP_BYTES = 1_100_000  # new files of this size are looked up before they are sent


def unreachable(case: Case) -> None:
    case.server.kill()
    case.home.ok("add", str(case.file))
    while case.row["error_code"] != ErrorCode.UNREACHABLE:
        time.sleep(POLL_S)
    assert case.row["remedy"].endswith(": sploot doctor")
    assert case.home.run("doctor").returncode != 0
    case.server.start()
    case.wait_after(ErrorCode.UNREACHABLE)


def fails_three_times(error_code: ErrorCode, *faults: str) -> Callable[[Case], None]:
    def scenario(case: Case) -> None:
        case.server.send_command("script", {"route": "upload", "faults": faults * 3})
        case.add("--priority", "background")
        case.follow(error_code)

    return scenario


def waits(error_code: ErrorCode, route: str, fault: str) -> Callable[[Case], None]:
    def scenario(case: Case) -> None:
        case.server.send_command("fault_proxy", {"busy_s": 2})
        case.server.send_command("script", {"route": route, "faults": [fault]})
        case.add(content=jpeg(error_code, LOOKED_UP_BYTES))
        case.wait_after(error_code)

    return scenario


def library_full(case: Case) -> None:
    """The quota is used up: nothing fails and no file is blamed. Uploads resume by themselves, or at once."""
    case.server.send_command("script", {"route": "upload", "faults": ["full"]})
    case.home.ok("add", str(case.file))
    while (row := case.row)["error_code"] != ErrorCode.LIBRARY_FULL:
        time.sleep(POLL_S)
    server = case.home.json("status")["server"]
    assert (server["state"], server["breaker"], row["attempts"]) == ("full", "closed", 0)
    assert "the quota of 20 MB is used up" in server["detail"]
    assert "ask its operator" in row["remedy"]
    case.home.ok(*REMEDIES[ErrorCode.LIBRARY_FULL].command.split()[1:])
    case.wait_until("ready")


def server_error(case: Case) -> None:
    """The content was deleted softly before this home knew it: only the server's purge helps."""
    case.add()
    sha256 = case.row["sha256"]
    case.server.send_command("remove", sha256)
    case.home.ok("daemon", "stop")
    shutil.rmtree(case.home.state)
    case.add("--priority", "background")
    case.follow(ErrorCode.SERVER_ERROR, lambda: case.server.send_command("purge", sha256))


def unauthenticated(case: Case) -> None:
    case.home.environ.pop("SPLOOT_TOKEN")
    case.home.ok("daemon", "restart")
    case.home.ok("add", str(case.file))
    while not (actions := case.home.json("status")["actions_required"]):
        time.sleep(POLL_S)
    assert [each["command"] for each in actions] == [REMEDIES[ErrorCode.UNAUTHENTICATED].command]
    case.home.ok("login", "--token-stdin", stdin=b"a-good-token\n")
    case.wait_until("ready")


def resource_exhausted(case: Case) -> None:
    """The daemon may open no more files, from the import of the file until it was tried."""
    case.home.ok("config", "set", "settle_s", "8")
    os.utime(case.file)
    case.home.ok("add", str(case.file))
    pid = case.home.daemon_pid()
    assert pid is not None
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (8, before[1]))
    query = "SELECT count(*) FROM attempts WHERE error_code = 'resource_exhausted'"
    with contextlib.closing(sqlite3.connect(f"file:{case.home.state}/queue.db?mode=ro", uri=True)) as database:
        while not database.execute(query).fetchone()[0]:
            time.sleep(0.05)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
    case.wait_after(ErrorCode.RESOURCE_EXHAUSTED)


def interrupted(case: Case) -> None:
    case.server.send_command("sploot", {"work_s": 3.0})
    case.home.ok("add", str(case.file))
    case.wait_until("uploading")
    case.home.kill_daemon()
    case.wait_until("ready")
    history = case.home.json("why", str(case.row["id"]))["attempts"]
    assert ErrorCode.INTERRUPTED in [each["error_code"] for each in history]


def rejected(case: Case) -> None:
    case.server.send_command("sploot", {"platform_bytes_max": 5_000})
    case.add(content=jpeg("large", 20_000))
    case.follow(ErrorCode.REJECTED, lambda: case.file.write_bytes(SMALL))


def tags_rejected(case: Case) -> None:
    """One rejection is enough for all files, and their new tags replace the rejected ones."""
    for number in range(10):
        (case.file.parent / f"{number}.jpg").write_bytes(jpeg(number))
    case.server.send_command("sploot", {"refused_tags": ["bad"]})
    case.add("--tag", "bad")
    rows = case.home.rows()
    assert {(row["state"], row["error_code"]) for row in rows} == {("failed", ErrorCode.TAGS_REJECTED)}
    assert sum(each["event"] == "refused tags" for each in read_journal(case.server.journal)) == 1
    case.follow(ErrorCode.TAGS_REJECTED)
    assert case.row["tags"] == ["better"]
    case.add("--tag", "good")
    assert {row["state"] for row in case.home.rows()} == {"ready"}


def too_large(case: Case) -> None:
    case.add(content=jpeg("large", 10_485_761))
    case.follow(ErrorCode.TOO_LARGE, lambda: case.file.write_bytes(SMALL))


def empty(case: Case) -> None:
    case.add(content=b"")
    case.follow(ErrorCode.EMPTY, lambda: case.file.write_bytes(SMALL))


def not_an_image(case: Case) -> None:
    case.add(content=b"This is no image.")
    case.follow(ErrorCode.NOT_AN_IMAGE, lambda: case.file.write_bytes(SMALL))


def hold(case: Case, spoil: Callable[[], object]) -> None:
    """Spoil the file between its import and its upload."""
    case.home.ok("pause")
    case.home.ok("add", str(case.file))
    spoil()
    case.home.ok("resume")


def unreadable(case: Case) -> None:
    """The daemon runs without the right of root to read every file."""
    case.home.ok("daemon", "stop")
    flags = "-dac_override,-dac_read_search"
    start = ["setpriv", f"--bounding-set={flags}", f"--inh-caps={flags}", *case.home.command("daemon", "start")]
    subprocess.run(start, env=case.home.variables(), check=True, capture_output=True)
    hold(case, lambda: case.file.chmod(0))
    case.follow(ErrorCode.UNREADABLE, lambda: case.file.chmod(0o600))


def not_a_file(case: Case) -> None:
    def replace_with_pipe() -> None:
        case.file.unlink()
        os.mkfifo(case.file)

    def replace_with_file() -> None:
        case.file.unlink()
        case.file.write_bytes(SMALL)

    hold(case, replace_with_pipe)
    case.follow(ErrorCode.NOT_A_FILE, replace_with_file)


def embedding_failed(case: Case) -> None:
    """A Sploot repeats no failed embedding: the asset is deleted permanently and the file is sent again."""
    case.server.send_command("sploot", {"failing_embeddings": 1.0})
    case.add()
    assert "in the library" in case.home.json("status")["actions_required"][0]["what"]
    case.follow(ErrorCode.EMBEDDING_FAILED, lambda: case.server.send_command("sploot", {"failing_embeddings": 0.0}))
    events = [each["event"] for each in read_journal(case.server.journal)]
    assert (events.count("created"), events.count("deleted")) == (2, 1)


def unsupported(case: Case) -> None:
    case.add(content=b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    case.follow(ErrorCode.UNSUPPORTED, lambda: case.file.write_bytes(SMALL))


def removed(case: Case) -> None:
    """A soft-deleted asset is deleted for good, because the server rejects its content until then."""
    case.add()
    case.server.send_command("remove", case.row["sha256"])
    case.home.ok("why", str(case.file))  # asks the library
    again = case.home.run("add", str(case.file), "--wait")
    assert again.returncode == 1
    assert "was removed from the library. To upload it again: sploot add --force" in again.stderr
    copy = case.file.with_name("copy.jpg")
    shutil.copyfile(case.file, copy)
    added = case.home.run("add", str(copy), "--wait", "--timeout", "60")
    assert added.returncode == 1
    assert "1 file was removed from the library before: sploot add --force" in added.stdout
    Case(case.home, case.server, copy).follow(ErrorCode.REMOVED)
    case.server.send_command("remove", case.row["sha256"])
    third = case.file.with_name("third.jpg")
    shutil.copyfile(case.file, third)
    while time.time() - CHECK_CACHE_TTL_S < third.stat().st_ctime:
        time.sleep(0.5)  # the library reported the content just now, and is not asked again within this time
    case.home.run("add", str(third), "--wait", "--timeout", "60")
    assert "1 file back in the queue" in case.home.ok("retry", "--error", "removed")
    Case(case.home, case.server, third).wait_until("ready")


def cancelled(case: Case) -> None:
    hold(case, lambda: case.home.ok("forget", str(case.file)))
    case.follow(ErrorCode.CANCELLED)


def file_missing(case: Case) -> None:
    hold(case, case.file.unlink)
    case.follow(ErrorCode.FILE_MISSING, lambda: case.file.write_bytes(SMALL))


SCENARIOS: dict[ErrorCode, Callable[[Case], None]] = {
    ErrorCode.UNREACHABLE: unreachable,
    ErrorCode.CONNECTION_LOST: fails_three_times(ErrorCode.CONNECTION_LOST, "reset inside", "reset inside"),
    ErrorCode.SERVER_ERROR: server_error,
    ErrorCode.SERVER_UNAVAILABLE: waits(ErrorCode.SERVER_UNAVAILABLE, "check", "error"),
    ErrorCode.INVALID_RESPONSE: fails_three_times(ErrorCode.INVALID_RESPONSE, "page"),
    ErrorCode.RATE_LIMITED: waits(ErrorCode.RATE_LIMITED, "upload", "busy"),
    ErrorCode.LIBRARY_FULL: library_full,
    ErrorCode.UNAUTHENTICATED: unauthenticated,
    ErrorCode.RESOURCE_EXHAUSTED: resource_exhausted,
    ErrorCode.INTERRUPTED: interrupted,
    ErrorCode.REJECTED: rejected,
    ErrorCode.TAGS_REJECTED: tags_rejected,
    ErrorCode.TOO_LARGE: too_large,
    ErrorCode.EMPTY: empty,
    ErrorCode.NOT_AN_IMAGE: not_an_image,
    ErrorCode.UNREADABLE: unreadable,
    ErrorCode.NOT_A_FILE: not_a_file,
    ErrorCode.EMBEDDING_FAILED: embedding_failed,
    ErrorCode.UNSUPPORTED: unsupported,
    ErrorCode.REMOVED: removed,
    ErrorCode.CANCELLED: cancelled,
    ErrorCode.FILE_MISSING: file_missing,
}


@pytest.mark.parametrize("error_code", list(ErrorCode))
def test_the_remedy_for_each_error_code_works(error_code: ErrorCode, tmp_path: Path) -> None:
    """A new error code fails here until it has a remedy, and a scenario that proves it."""
    file = tmp_path / "memes" / "a meme.jpg"
    file.parent.mkdir()
    file.write_bytes(jpeg(error_code))
    with (
        faulty_sploot.running(tmp_path / "journal", "--token", "a-good-token") as server,
        home_in(tmp_path / "home", SPLOOT_SERVER=server.url, SPLOOT_TOKEN="a-good-token") as home,
    ):
        SCENARIOS[error_code](Case(home, server, file))


def test_tags_are_checked_before_anything_is_queued(tmp_path: Path) -> None:
    (file := tmp_path / "a.jpg").write_bytes(SMALL)
    with home_in(tmp_path / "home", SPLOOT_SERVER="http://127.0.0.1:9") as home:
        for tag in (" ", "x" * 51, "<b>", "a&lt;b", "javascript:x", "one=1"):
            assert home.run("add", str(file), "--tag", tag).returncode == 2, tag
        assert home.run("add", str(file), *(f"--tag={number}" for number in range(21))).returncode == 2
        assert home.rows() == []
        home.ok("add", str(file), "--tag", "  two words ")
        assert home.rows()[0]["tags"] == ["two words"]


def test_tags_of_known_files_are_applied_in_the_library_or_their_rejection_is_reported(
    tmp_path: Path, server: faulty_sploot.Process
) -> None:
    (file := tmp_path / "a.jpg").write_bytes(SMALL)
    token = server.send_command("token", "user_anna").decode()
    with home_in(tmp_path / "home", SPLOOT_SERVER=server.url, SPLOOT_TOKEN=token) as home:
        home.ok("add", str(file), "--tag", "one", "--wait", "--timeout", "60")
        assert "1 known, with new tags" in home.ok("add", str(file), "--tag", "two", "--wait", "--timeout", "60")
        assert [each["tags"] for each in read_journal(server.journal) if each["event"] == "tagged"] == [["one", "two"]]
        assert "Nothing new" in home.ok("add", str(file), "--tag", "two", "--wait", "--timeout", "60")
        server.send_command("sploot", {"refused_tags": ["three"]})
        assert home.run("add", str(file), "--tag", "three", "--wait", "--timeout", "60").returncode == 1
        assert "the library has the file, but did not accept its tags" in home.ok("failed")


def test_a_content_that_a_failing_database_denies_is_not_taken_for_removed(
    tmp_path: Path, server: faulty_sploot.Process
) -> None:
    (file := tmp_path / "a.jpg").write_bytes(SMALL)
    token = server.send_command("token", "user_anna").decode()
    with home_in(tmp_path / "home", SPLOOT_SERVER=server.url, SPLOOT_TOKEN=token) as home:
        home.ok("add", str(file), "--wait", "--timeout", "60")
        server.send_command("sploot", {"is_database_down": True})
        assert home.json("why", str(file))["removed_at"] is None
        home.ok("add", str(file), "--force")
        (item, _) = home.rows()
        while not home.json("why", str(item["id"]))["attempts"]:
            time.sleep(POLL_S)
        server.send_command("sploot", {"is_database_down": False})
        home.run("bump", str(item["id"]))
        home.ok("add", str(file), "--wait", "--timeout", "90")
        assert home.rows()[0]["state"] == "ready"
    assert [each["event"] for each in read_journal(server.journal)].count("deleted") == 0
