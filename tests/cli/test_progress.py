"""The progress line of `sploot add --wait` and its summary."""

import io
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sploot.formatting import count_cells
from sploot.progress import (
    RATE_MIN_S,
    RATE_WINDOW_S,
    Meter,
    ProgressDisplay,
    render_bar,
    render_progress,
    render_summary,
)
from sploot.render import PLAIN

from splootd.protocol import Progress

STATES = ("pending", "uploading", "embedding", "ready", "failed", "missing", "skipped")


def snapshot(total: int = 1000, *, scanning: bool = False, duplicates: int = 0, **states: int) -> Progress:
    full = dict.fromkeys(STATES, 0) | states
    full["pending"] = total - sum(full.values())
    done = total - full["pending"] - full["uploading"]
    return Progress(1, scanning, total, full, duplicates, total * 1000, done * 1000, ended=False)


def test_the_time_left_is_unknown_at_first():
    meter = Meter()
    meter.add_sample(snapshot(), at=100.0)
    assert render_progress(meter) == "sent 0 of 1,000, searchable 0 of 1,000"


def test_two_meters_the_failed_the_time_left_and_the_rate():
    meter = Meter()
    meter.add_sample(snapshot(), at=100.0)
    meter.add_sample(snapshot(ready=240, failed=10, embedding=50, duplicates=22), at=110.0)
    assert render_progress(meter) == (
        "sent 290 of 990, searchable 240 of 990, 10 failed, about 30 s left, 30.0 kB/s, 22 duplicates"
    )


@pytest.mark.parametrize(
    ("columns", "line"),
    [
        (80, "sent 290 of 990, searchable 240 of 990, 10 failed, about 30 s left, 30.0 kB/s"),
        (60, "sent 290 of 990, searchable 240 of 990, 10 failed"),
        (40, "sent 290 of 990, searchable 240 of 990"),
        (24, "searchable 240 of 990"),
        (12, "searchable …"),
    ],
)  # fmt: skip
def test_parts_of_the_line_are_left_out_by_rank(columns: int, line: str):
    meter = Meter()
    meter.add_sample(snapshot(), at=100.0)
    meter.add_sample(snapshot(ready=240, failed=10, embedding=50, duplicates=22), at=110.0)
    assert render_progress(meter, columns=columns) == line
    assert render_progress(meter, columns=200) == f"[####=---------------]  {render_progress(meter)}"


@given(st.integers(1, 300), st.integers(0, 10**7), st.text(max_size=60), st.booleans())
def test_the_line_fits_every_terminal(columns: int, ready: int, note: str, scanning: bool):
    meter = Meter()
    meter.add_sample(snapshot(2 * ready, scanning=scanning), at=0.0)
    meter.add_sample(snapshot(2 * ready, ready=ready // 2, failed=ready // 9, scanning=scanning), at=10.0)
    assert count_cells(render_progress(meter, note, columns=columns)) <= columns


def test_the_time_left_is_unknown_during_a_scan():
    meter = Meter()
    meter.add_sample(snapshot(scanning=True), at=0.0)
    meter.add_sample(snapshot(ready=500, scanning=True), at=10.0)
    assert "searchable 500 of 1,000 so far" in render_progress(meter)
    assert meter.eta_s() is None


def test_delayed_files_are_never_reported_as_nearly_done():
    """The rate of the last seconds does not apply to files that settle or wait for a retry."""
    meter = Meter()
    meter.add_sample(snapshot(), at=0.0)
    due_at = (datetime.now(UTC) + timedelta(seconds=15)).isoformat()
    meter.add_sample(replace(snapshot(ready=998), due_at=due_at), at=10.0)
    assert render_progress(meter).endswith(", 2 files wait for at least 15 s")
    meter.add_sample(replace(snapshot(ready=998), due_at="2026-01-01T00:00:00Z"), at=10.0)
    assert render_progress(meter).endswith(", about 0 s left"), "the delay is over"
    meter.add_sample(snapshot(ready=998), at=12.0)
    assert render_progress(meter).endswith("searchable 998 of 1,000")


def test_a_stall_is_measured_and_its_note_printed():
    meter = Meter()
    meter.add_sample(snapshot(ready=1), at=10.0)
    meter.add_sample(snapshot(ready=1), at=14.0)
    assert meter.stalled_s(15.0) == 5.0
    meter.add_sample(snapshot(ready=2), at=15.0)
    assert meter.stalled_s(15.0) == 0.0
    note = "paused; to resume: sploot resume"
    assert render_progress(meter, note).endswith(f", {note}")
    assert render_progress(meter, note, columns=40) == note, "why nothing happens matters most"


@given(st.lists(st.tuples(st.floats(0.1, 30), st.integers(0, 30)), min_size=1, max_size=40))
def test_rates_are_never_negative_and_the_samples_are_bounded(steps: list[tuple[float, int]]):
    meter, at, ready = Meter(), 0.0, 0
    for elapsed_s, files in steps:
        at, ready = at + elapsed_s, min(1000, ready + files)
        meter.add_sample(snapshot(ready=ready), at)
        assert (meter.bytes_per_s() or 0) >= 0
        assert (meter.eta_s() or 0) >= 0
        assert at - meter._samples[0][0] <= RATE_WINDOW_S
    assert RATE_MIN_S < RATE_WINDOW_S


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("term", ["xterm", "dumb"])
def test_the_line_is_drawn_in_place_only_on_a_capable_terminal(monkeypatch: pytest.MonkeyPatch, term: str):
    monkeypatch.setenv("TERM", term)
    monkeypatch.setattr("sys.stderr", terminal := Terminal())
    meter = Meter()
    meter.add_sample(snapshot(), at=0.0)
    with ProgressDisplay(PLAIN, is_quiet=False) as display:
        display.draw(meter, "")
    assert ("\x1b" in terminal.getvalue()) == (term == "xterm")
    assert "searchable 0 of 1,000" in terminal.getvalue()


@given(st.integers(0, 999), st.integers(0, 999), st.integers(0, 999))
def test_the_bar_has_always_the_same_width(ready: int, processing: int, rest: int):
    bar = render_bar(ready + processing, ready, ready + processing + rest)
    assert len(bar) == len(render_bar(0, 0, 0))


def test_the_summary_is_sentences():
    assert render_summary(snapshot(10, ready=10, duplicates=2)) == [
        "10 files are searchable (2 were already in the library).",
        "0 files failed.",
    ]
    ended = snapshot(10, ready=6, failed=2, missing=1, skipped=1)
    assert render_summary(replace(ended, errors={"unsupported": 1, "too_large": 2, "file_missing": 1})) == [
        "6 files are searchable.",
        "1 file was skipped (1 of a type that the library does not take): sploot list --state skipped",
        "1 file disappeared before the upload.",
        "2 files failed (2 too large). What to do: sploot failed",
    ]
    assert render_summary(replace(snapshot(40, ready=40, duplicates=31), copies=30))[0] == (
        "40 files are searchable (1 was already in the library, 30 are copies of other files)."
    )
    assert render_summary(replace(snapshot(2, ready=1, skipped=1), removed=1))[1] == (
        "1 file was removed from the library before: sploot add --force uploads again."
    )
    assert render_summary(snapshot(0)) == ["Nothing new to upload."]
