"""`sploot logs` makes the daemon's JSON lines readable, and goes on when the log is rotated."""

import json
from pathlib import Path

import pytest
from sploot import logs as command
from sploot.logs import SHOWN, lines, readable

from splootd import logs as daemon_logs
from splootd.errors import SplootError

ENTRY = {"part": "uploader", "item": 7, "event": "sent", "level": "info", "timestamp": "2026-01-01T10:00:00.5Z"}


def test_a_line_is_readable(monkeypatch: pytest.MonkeyPatch):
    said = readable(json.dumps(ENTRY | {"path": "a\x1b[31m.png"}), least=0)
    assert said is not None
    assert said.endswith("info    uploader: sent item=7 path=a\\x1b[31m.png")


def test_what_is_below_the_level_is_left_out():
    assert readable(json.dumps(ENTRY), least=2) is None
    assert readable(json.dumps(ENTRY | {"level": "error"}), least=2) is not None


def test_a_trace_follows_indented():
    said = readable(json.dumps(ENTRY | {"exception": "Traceback:\n  here"}), least=0)
    assert said is not None
    assert said.splitlines()[1:] == ["    Traceback:", "      here"]


@pytest.mark.parametrize("line", ["half a li", "[1]", '{"level": 3}', "null", '{"level": "info", "timestamp": 1}'])
def test_what_is_no_entry_is_shown_as_it_is(line: str):
    assert readable(line + "\n", least=0) == line


def test_only_the_end_of_a_long_log_is_shown(tmp_path: Path):
    file = tmp_path / "splootd.log"
    file.write_text("".join(f"{number}\n" for number in range(SHOWN + 50)))
    assert next(iter(lines(file, follow=False))) == "50\n"


def test_a_rotated_log_is_followed_to_its_last_line_and_into_the_next_file(tmp_path: Path):
    file = tmp_path / "splootd.log"
    file.write_text("first\n")
    following = lines(file, follow=True)
    assert next(following) == "first\n"
    with file.open("a") as old:
        old.write("second\n")
        assert not old.flush()
        assert next(following) == "second\n"
        file.rename(tmp_path / "splootd.log.1")
        old.write("third\n")
        assert not old.flush()
        file.write_text("fourth\n")
        assert [next(following), next(following)] == ["third\n", "fourth\n"]
    following.close()


def test_nothing_is_missed_while_the_daemon_turns_its_log_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(daemon_logs, "FILE_BYTES_MAX", 2_000)
    monkeypatch.setattr(command, "LOOK_S", 0.01)
    file = tmp_path / "splootd.log"
    daemon_logs.set_up("info", file)
    try:
        log = daemon_logs.logger("uploader")
        log.info("a line", number=0)
        following = lines(file, follow=True)
        seen = [json.loads(next(following))["number"]]
        for number in range(1, 40):
            log.info("a line", number=number)
            seen.append(json.loads(next(following))["number"])
        following.close()
    finally:
        daemon_logs.close()
    assert seen == list(range(40))
    assert (tmp_path / "splootd.log.2").exists()


def test_a_log_that_is_not_there_yet_is_said(tmp_path: Path):
    with pytest.raises(SplootError, match="No such file"):
        list(lines(tmp_path / "splootd.log", follow=False))
