"""The progress of `add --wait`: what it shows while it runs, and the sentences it ends with."""

import io
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sploot.progress import KNOWN_S, WINDOW_S, Meter, Screen, bar, ending, line
from sploot.render import PLAIN

from splootd.protocol import Progress

STATES = ("pending", "uploading", "embedding", "ready", "dead", "gone", "skipped")


def snapshot(total: int = 1000, *, walking: bool = False, duplicates: int = 0, **states: int) -> Progress:
    full = dict.fromkeys(STATES, 0) | states
    full["pending"] = total - sum(full.values())
    done = total - full["pending"] - full["uploading"]
    return Progress(1, walking, total, full, duplicates, total * 1000, done * 1000, ended=False)


def test_it_is_estimating_until_it_knows():
    meter = Meter()
    meter.note(snapshot(), at=100.0)
    assert line(meter, "", PLAIN, with_bar=True) == (
        "[------------------------]    0%  0 of 1,000 files  0 B of 1.0 MB  0 errors  estimating"
    )


def test_files_and_bytes_duplicates_and_errors_and_the_time_left():
    meter = Meter()
    meter.note(snapshot(), at=100.0)
    meter.note(snapshot(ready=240, dead=10, embedding=50, duplicates=22), at=110.0)
    assert line(meter, "", PLAIN, with_bar=False) == (
        " 25%  250 of 1,000 files  300 kB of 1.0 MB  22 duplicates  50 embedding  10 errors  30.0 kB/s  30 s left"
    )


def test_while_folders_are_walked_nobody_knows_how_long_it_takes():
    meter = Meter()
    meter.note(snapshot(walking=True), at=0.0)
    meter.note(snapshot(ready=500, walking=True), at=10.0)
    assert "500 of 1,000 files so far" in line(meter, "", PLAIN, with_bar=False)
    assert meter.eta_s() is None


def test_what_waits_for_its_time_is_never_said_to_be_nearly_done():
    """A rate of the last seconds says nothing of a file whose end may still be being written."""
    meter = Meter()
    meter.note(snapshot(), at=0.0)
    due_at = (datetime.now(UTC) + timedelta(seconds=15)).isoformat()
    meter.note(replace(snapshot(ready=998), due_at=due_at), at=10.0)
    assert line(meter, "", PLAIN, with_bar=False).endswith("  2 files wait for at least 15 s")
    meter.note(replace(snapshot(ready=998), due_at="2026-01-01T00:00:00Z"), at=10.0)
    assert line(meter, "", PLAIN, with_bar=False).endswith("  0 s left"), "its time has come"
    meter.note(snapshot(ready=998), at=12.0)
    assert line(meter, "", PLAIN, with_bar=False).endswith("  estimating")


def test_what_stands_still_is_noticed_and_told():
    meter = Meter()
    meter.note(snapshot(ready=1), at=10.0)
    meter.note(snapshot(ready=1), at=14.0)
    assert meter.still_s(15.0) == 5.0
    meter.note(snapshot(ready=2), at=15.0)
    assert meter.still_s(15.0) == 0.0
    assert line(meter, "sending is paused: sploot resume", PLAIN, with_bar=False).endswith("sploot resume")


@given(st.lists(st.tuples(st.floats(0.1, 30), st.integers(0, 30)), min_size=1, max_size=40))
def test_rates_are_never_negative_and_the_memory_is_bounded(steps: list[tuple[float, int]]):
    meter, at, ready = Meter(), 0.0, 0
    for passed_s, files in steps:
        at, ready = at + passed_s, min(1000, ready + files)
        meter.note(snapshot(ready=ready), at)
        assert (meter.bytes_per_s() or 0) >= 0
        assert (meter.eta_s() or 0) >= 0
        assert at - meter._seen[0][0] <= WINDOW_S
    assert KNOWN_S < WINDOW_S


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("term", ["xterm", "dumb"])
def test_a_line_is_drawn_in_place_only_where_that_can_be_done(monkeypatch: pytest.MonkeyPatch, term: str):
    monkeypatch.setenv("TERM", term)
    monkeypatch.setattr("sys.stderr", terminal := Terminal())
    meter = Meter()
    meter.note(snapshot(), at=0.0)
    with Screen(PLAIN, is_quiet=False) as screen:
        screen.draw(meter, "")
    assert ("\x1b" in terminal.getvalue()) == (term == "xterm")
    assert "0 of 1,000 files" in terminal.getvalue()


@given(st.floats(0, 1))
def test_the_bar_has_always_the_same_width(done: float):
    assert len(bar(done)) == len(bar(0))


def test_it_ends_with_plain_sentences():
    assert ending(snapshot(10, ready=10, duplicates=2)) == [
        "10 files are searchable, 2 of them in the library before.",
        "0 files failed.",
    ]
    assert ending(snapshot(10, ready=6, dead=2, gone=1, skipped=1)) == [
        "6 files are searchable.",
        "1 file was skipped: sploot list --state skipped",
        "1 file vanished before being sent.",
        "2 files failed: sploot failed",
    ]
    assert ending(snapshot(0)) == ["There was nothing new to send."]
