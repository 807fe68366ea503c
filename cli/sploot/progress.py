"""Measures and renders the progress of an import."""

import sys
import time
from collections import deque
from collections.abc import Callable
from typing import Self

from sploot.formatting import format_count, format_duration, format_size, seconds_since
from sploot.render import Style
from sploot.terminal import supports_ansi
from splootd.protocol import Progress

RATE_WINDOW_S = 20.0
RATE_MIN_S = 5.0  # of samples, before a rate or a time left is printed
BAR_WIDTH = 24
LINE_INTERVAL_S = 1.0  # between lines when stderr is not a terminal

# Without auto-wrap a line that is too long is cut. If it wrapped, `\r` would return only to the start of its last row.
_ERASE, _NO_WRAP, _WRAP = "\x1b[K", "\x1b[?7l", "\x1b[?7h"

FINAL_STATES = ("ready", "failed", "missing", "skipped")


class Meter:
    """Computes rates and the time left from the snapshots of the last RATE_WINDOW_S. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, Progress]] = deque()
        self._changed_at: float | None = None

    @property
    def latest(self) -> Progress:
        return self._samples[-1][1]

    def add_sample(self, progress: Progress, at: float) -> None:
        if not self._samples or self.latest != progress:
            self._changed_at = at
        if self._samples and self.latest.due_at is not None and progress.due_at is None:
            self._samples.clear()  # the time of a delay would lower the rate after it
        self._samples.append((at, progress))
        while at - self._samples[0][0] > RATE_WINDOW_S:
            self._samples.popleft()

    def stalled_s(self, at: float) -> float:
        """Return the seconds since the last change."""
        return 0.0 if self._changed_at is None else at - self._changed_at

    def bytes_per_s(self) -> float | None:
        """Return the upload rate, or None until it is known."""
        return self._rate(lambda progress: progress.bytes_done)

    def eta_s(self) -> float | None:
        """Return the time left, or None until it is known: during a scan the total still grows."""
        rate = self._rate(finished_count)
        return None if self.latest.scanning or not rate else (self.latest.total - finished_count(self.latest)) / rate

    def _rate(self, get_value: Callable[[Progress], float]) -> float | None:
        (first_at, first), (last_at, last) = self._samples[0], self._samples[-1]
        elapsed_s = last_at - first_at
        return (get_value(last) - get_value(first)) / elapsed_s if elapsed_s >= RATE_MIN_S else None


def finished_count(progress: Progress) -> int:
    """Return the number of files in a final state."""
    return sum(progress.states.get(state, 0) for state in FINAL_STATES)


def render_progress(meter: Meter, note: str, style: Style, *, with_bar: bool) -> str:
    """Render one line. The number of errors is always part of it, even when it is zero."""
    latest = meter.latest
    fraction = finished_count(latest) / latest.total if latest.total else 0.0
    errors = latest.states.get("failed", 0)
    rate, eta = meter.bytes_per_s(), meter.eta_s()
    parts = [
        render_bar(fraction) if with_bar else "",
        f"{fraction:4.0%}",
        f"{finished_count(latest):,} of {format_count(latest.total, 'file')}{' so far' if latest.scanning else ''}",
        f"{format_size(latest.bytes_done)} of {format_size(latest.bytes_total)}",
        format_count(latest.duplicates, "duplicate") if latest.duplicates else "",
        f"{latest.states['embedding']:,} processing" if latest.states.get("embedding") else "",
        (style.bad if errors else str)(format_count(errors, "error")),
        f"{format_size(rate)}/s" if rate and latest.due_at is None else "",
        _render_time_left(latest, eta),
        style.warn(note) if note else "",
    ]
    return "  ".join(part for part in parts if part)


def _render_time_left(progress: Progress, eta_s: float | None) -> str:
    """Render the time left. When all unfinished files are delayed, it is the time of the first retry, not a rate."""
    delay_s = 0.0 if progress.due_at is None else -seconds_since(progress.due_at)
    if delay_s > 0:
        waiting = format_count(progress.total - finished_count(progress), "file waits", "files wait")
        return f"{waiting} for at least {format_duration(delay_s)}"
    return f"{format_duration(eta_s)} left" if eta_s is not None else "estimating"


def render_bar(fraction: float) -> str:
    filled = int(fraction * BAR_WIDTH)
    return f"[{'#' * filled}{'-' * (BAR_WIDTH - filled)}]"


def render_summary(progress: Progress) -> list[str]:
    """Render the result as sentences."""
    if not progress.total:
        return ["Nothing new to upload."]
    states = progress.states
    ready = states.get("ready", 0)
    duplicates = _render_duplicates(progress.duplicates, ready)
    sentences = [f"{format_count(ready, 'file is', 'files are')} searchable{duplicates}."]
    if states.get("skipped"):
        sentences.append(
            f"{format_count(states['skipped'], 'file was', 'files were')} skipped: sploot list --state skipped"
        )
    if states.get("missing"):
        sentences.append(f"{format_count(states['missing'], 'file')} disappeared before the upload.")
    failed = states.get("failed", 0)
    sentences.append(f"{format_count(failed, 'file')} failed{': sploot failed' if failed else '.'}")
    return sentences


def _render_duplicates(duplicates: int, ready: int) -> str:
    if not duplicates:
        return ""
    which = "it was" if ready == 1 else "all were" if duplicates == ready else f"{duplicates:,} were"
    return f" ({which} already in the library)"


class ProgressDisplay:
    """Draws the progress on stderr: in place on a terminal, else as plain lines, at most one per second."""

    def __init__(self, style: Style, *, is_quiet: bool) -> None:
        self._style = style
        self._is_quiet = is_quiet
        self._is_live = supports_ansi(sys.stderr)
        self._next_line_at = time.monotonic()

    def draw(self, meter: Meter, note: str) -> None:
        if self._is_quiet or not meter.latest.total:
            return
        if self._is_live:
            shown = render_progress(meter, note, self._style, with_bar=True)
            print(f"\r{_ERASE}{_NO_WRAP}{shown}{_WRAP}", end="", file=sys.stderr, flush=True)
        elif time.monotonic() >= self._next_line_at:
            self._next_line_at += LINE_INTERVAL_S
            print(render_progress(meter, note, self._style, with_bar=False), file=sys.stderr, flush=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Erase the progress line."""
        if self._is_live and not self._is_quiet:
            print(f"\r{_ERASE}", end="", file=sys.stderr, flush=True)
