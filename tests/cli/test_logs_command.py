"""`sploot logs` formats the JSON lines of the daemon and follows the log across rotation."""

import json
from pathlib import Path

import pytest
from sploot.commands import logs as command
from sploot.commands.logs import TAIL_LINES, format_entry, tail_lines

from splootd import logs as daemon_logs
from splootd.errors import SplootError

ENTRY = {"part": "uploader", "item": 7, "event": "sent", "level": "info", "timestamp": "2026-01-01T10:00:00.5Z"}


def test_a_line_is_readable(monkeypatch: pytest.MonkeyPatch):
    formatted = format_entry(json.dumps(ENTRY | {"path": "a\x1b[31m.png"}), min_level=0)
    assert formatted is not None
    assert formatted.endswith("info    uploader: sent item=7 path=a\\x1b[31m.png")


def test_entries_below_the_level_are_left_out():
    assert format_entry(json.dumps(ENTRY), min_level=2) is None
    assert format_entry(json.dumps(ENTRY | {"level": "error"}), min_level=2) is not None


def test_a_trace_follows_indented():
    formatted = format_entry(json.dumps(ENTRY | {"exception": "Traceback:\n  here"}), min_level=0)
    assert formatted is not None
    assert formatted.splitlines()[1:] == ["    Traceback:", "      here"]


@pytest.mark.parametrize("line", ["half a li", "[1]", '{"level": 3}', "null", '{"level": "info", "timestamp": 1}'])
def test_other_lines_are_printed_unchanged(line: str):
    assert format_entry(line + "\n", min_level=0) == line


def test_only_the_end_of_a_long_log_is_printed(tmp_path: Path):
    file = tmp_path / "splootd.log"
    file.write_text("".join(f"{number}\n" for number in range(TAIL_LINES + 50)))
    assert next(iter(tail_lines(file, follow=False))) == "50\n"


def test_a_rotated_log_is_followed_to_its_last_line_and_into_the_next_file(tmp_path: Path):
    file = tmp_path / "splootd.log"
    file.write_text("first\n")
    following = tail_lines(file, follow=True)
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


def test_no_line_is_missed_while_the_daemon_rotates_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(daemon_logs, "FILE_BYTES_MAX", 2_000)
    monkeypatch.setattr(command, "POLL_INTERVAL_S", 0.01)
    file = tmp_path / "splootd.log"
    daemon_logs.configure("info", file)
    try:
        log = daemon_logs.get_logger("uploader")
        log.info("a line", number=0)
        following = tail_lines(file, follow=True)
        seen = [json.loads(next(following))["number"]]
        for number in range(1, 40):
            log.info("a line", number=number)
            seen.append(json.loads(next(following))["number"])
        following.close()
    finally:
        daemon_logs.close()
    assert seen == list(range(40))
    assert (tmp_path / "splootd.log.2").exists()


def test_a_missing_log_is_reported(tmp_path: Path):
    with pytest.raises(SplootError, match="No such file"):
        list(tail_lines(tmp_path / "splootd.log", follow=False))
