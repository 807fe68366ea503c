"""The log is JSON in the file and readable on a terminal, without secrets in either."""

import io
import json
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from splootd import logs

LINE_BYTES_MAX = 200
JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ1c2VyIn0.c2lnbmF0dXJl"


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "splootd.log"
    logs.close()


def lines(file: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_each_line_is_json_with_time_level_and_bound_values(file: Path):
    logs.configure("info", file)
    child = logs.get_logger("uploader", server="local").bind(item=7)
    child.info("sent", bytes=12)
    (line,) = lines(file)
    assert line["event"] == "sent"
    assert (line["part"], line["server"], line["item"], line["bytes"], line["level"]) == (
        "uploader",
        "local",
        7,
        12,
        "info",
    )
    assert str(line["timestamp"]).endswith("Z")


def test_no_secret_reaches_the_file_or_the_terminal(file: Path):
    terminal = io.StringIO()
    logs.configure("debug", file, terminal)
    log = logs.get_logger("api", token="s3cret")
    log.info(f"Authorization: Bearer {JWT}", authorization="s3cret", response=f"your token {JWT} is bad")
    log.info("cookie", set_cookie="__session=s3cret", text="__session=s3cret; Path=/")
    for text in (file.read_text(), terminal.getvalue()):
        assert "s3cret" not in text
        assert JWT not in text


def test_a_name_that_is_not_utf8_can_be_logged(file: Path):
    logs.configure("info", file)
    logs.get_logger("importer").info("found", path=b"/memes/\xff\n.png")
    assert lines(file)[0]["path"] == "/memes/\\xff\n.png"


def test_the_level_applies_and_the_file_is_private(file: Path):
    logs.configure("warning", file)
    log = logs.get_logger("tracker")
    log.info("filtered")
    log.warning("logged")
    assert [line["event"] for line in lines(file)] == ["logged"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_the_file_rotates_and_old_files_are_deleted(file: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(logs, "FILE_BYTES_MAX", 2_000)
    logs.configure("info", file)
    log = logs.get_logger("watcher")
    for number in range(200):
        log.info("a line of some length", number=number)
    kept = sorted(file.parent.glob("splootd.log*"))
    assert len(kept) == logs.FILES_KEPT + 1
    assert all(part.stat().st_size < 2_000 + LINE_BYTES_MAX for part in kept)
    assert lines(file)[-1]["number"] == 199
