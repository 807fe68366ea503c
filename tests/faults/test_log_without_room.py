"""Logging on a full disk: log lines get lost, the daemon runs on, and logging resumes when there is room."""

import contextlib
import json
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from lab import mounts

from splootd import logs

LINES = 300


@pytest.fixture
def logging_to(tmp_path: Path) -> Iterator[Callable[[Path], None]]:
    yield lambda file: logs.configure("info", file)
    logs.close()


@contextmanager
def limited_file_size(size_bytes: int) -> Iterator[None]:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)


def write_lines(word: str) -> None:
    logger = logs.get_logger("test")
    for number in range(LINES):
        logger.info(word, number=number, ballast="x" * 200)


def words_in(*files: Path) -> set[str]:
    """Return the events of all complete lines."""
    found = set()
    for file in files:
        for line in file.read_text().splitlines():
            try:
                found.add(json.loads(line)["event"])
            except ValueError:
                continue  # truncated at the end of the room
    return found


def test_a_log_at_its_size_limit_loses_lines_and_continues_without_the_limit(
    tmp_path: Path, logging_to: Callable[[Path], None]
) -> None:
    file = tmp_path / "splootd.log"
    logging_to(file)
    write_lines("before")
    with limited_file_size(file.stat().st_size + 1_000):
        write_lines("meanwhile")
    write_lines("after")
    assert {"before", "after"} <= words_in(file)


def test_a_log_that_must_rotate_without_room_continues_when_it_has_room(
    tmp_path: Path, logging_to: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "FILE_BYTES_MAX", 20_000)
    file = tmp_path / "splootd.log"
    logging_to(file)
    write_lines("before")
    with limited_file_size(1_000):
        write_lines("meanwhile")
    write_lines("after")
    assert "after" in words_in(file)
    assert "after" in words_in(*tmp_path.glob("splootd.log.*"))


def fill(ballast: Path) -> None:
    """Write until the disk is full."""
    with ballast.open("wb", buffering=0) as filling, contextlib.suppress(OSError):
        while filling.write(bytes(4096)):
            pass


@pytest.mark.root
def test_a_log_on_a_full_disk_continues_when_there_is_room(
    tmp_path: Path, logging_to: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    if reason := mounts.why_not("tmpfs"):
        pytest.skip(reason)
    monkeypatch.setattr(logs, "FILE_BYTES_MAX", 20_000)
    with mounts.small_disk(tmp_path / "disk", 256 << 10) as disk:
        file = disk.root / "splootd.log"
        ballast = disk.root / "ballast"
        logging_to(file)
        write_lines("before")
        fill(ballast)
        write_lines("meanwhile")
        ballast.unlink()
        write_lines("after")
        assert "after" in words_in(*disk.root.glob("splootd.log*"))
        logs.close()


def test_a_log_can_be_closed_without_room(tmp_path: Path, logging_to: Callable[[Path], None]) -> None:
    """The shutdown of the daemon must not fail because its last line cannot be written."""
    file = tmp_path / "splootd.log"
    logging_to(file)
    write_lines("before")
    with limited_file_size(file.stat().st_size + 1_000):
        write_lines("meanwhile")
        logs.close()
