"""Measures and renders the progress of an import."""

import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import NamedTuple, Self

from sploot.formatting import count_cells, format_count, format_duration, format_size, seconds_since, shorten
from sploot.render import PLAIN, Style
from sploot.terminal import get_columns, supports_ansi
from splootd.protocol import Progress

RATE_WINDOW_S = 20.0
RATE_MIN_S = 5.0  # of samples, before a rate or a time left is printed
BAR_WIDTH = 20
COLUMNS_UNKNOWN = 80  # of a terminal that does not know its size
LINE_INTERVAL_S = 1.0  # between lines when stderr is not a terminal

_ERASE = "\x1b[K"

SKIP_REASONS = {
    "unsupported": "of a type that the library does not take",
    "cancelled": "removed from the queue",
}
FAILURE_REASONS = {
    "too_large": "too large",
    "empty": "empty",
    "not_an_image": "not an image or video",
    "not_a_file": "not a regular file",
    "unreadable": "not readable",
    "rejected": "refused by the server",
    "tags_rejected": "with tags that the server refuses",
    "server_error": "on which the server fails",
    "embedding_failed": "that the library could not read",
}
"""Why files ended otherwise than ready, by error code, after their number."""

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


def render_progress(meter: Meter, note: str = "", style: Style = PLAIN, *, columns: int | None = None) -> str:
    """Render one line of at most `columns` cells: how many files are sent and searchable, and what else fits.

    Parts are left out by rank. The last ones left are the `note`, which says why nothing happens, and what is
    searchable.
    """
    latest = meter.latest
    failed, rate = latest.states.get("failed", 0), meter.bytes_per_s()
    sent, ready = latest.states.get("embedding", 0) + latest.states.get("ready", 0), latest.states.get("ready", 0)
    total = latest.total - sum(latest.states.get(state, 0) for state in ("failed", "missing", "skipped"))
    so_far = " so far" if latest.scanning else ""
    parts = [
        _Part(6, "" if columns is None else render_bar(sent, ready, total)),
        _Part(2, f"sent {sent:,} of {total:,}"),
        _Part(1, f"searchable {ready:,} of {total:,}{so_far}"),
        _Part(3, f"{failed:,} failed" if failed else "", style.bad),
        _Part(4, _render_time_left(latest, meter.eta_s())),
        _Part(5, f"{format_size(rate)}/s" if rate and latest.due_at is None else ""),
        _Part(7, format_count(latest.duplicates, "duplicate") if latest.duplicates else ""),
        _Part(0, note, style.warn),
    ]
    return _fit([part for part in parts if part.text], columns)


class _Part(NamedTuple):
    """A part of the progress line. Those with the largest rank are left out first."""

    rank: int
    text: str
    paint: Callable[[str], str] = str


def _fit(parts: list[_Part], columns: int | None) -> str:
    """Join as many parts as fit, the most important ones; the last one is shortened."""
    while columns is not None and len(parts) > 1 and count_cells(", ".join(part.text for part in parts)) > columns:
        parts.remove(max(parts))
    first, *others = (part.paint(shorten(part.text, columns) if len(parts) == 1 else part.text) for part in parts)
    gap = "  " if parts[0].text.startswith("[") else ", "
    return first + "".join(f"{gap if nth == 0 else ', '}{part}" for nth, part in enumerate(others))


def _render_time_left(progress: Progress, eta_s: float | None) -> str:
    """Render the time left. When all unfinished files are delayed, it is the time of the first retry, not a rate."""
    delay_s = 0.0 if progress.due_at is None else -seconds_since(progress.due_at)
    if delay_s > 0:
        waiting = format_count(progress.total - finished_count(progress), "file waits", "files wait")
        return f"{waiting} for at least {format_duration(delay_s)}"
    return f"about {format_duration(eta_s)} left" if eta_s is not None else ""


def render_bar(sent: int, ready: int, total: int) -> str:
    """Render two meters in one bar: `#` is searchable, `=` is sent and not yet searchable."""
    done, started = (BAR_WIDTH * number // max(total, 1) for number in (ready, sent))
    return f"[{'#' * done}{'=' * (started - done)}{'-' * (BAR_WIDTH - started)}]"


def render_summary(progress: Progress) -> list[str]:
    """Render the result as sentences: what is searchable, what was skipped and why, and what needs the user."""
    if not progress.total:
        return ["Nothing new to upload."]
    states = progress.states
    ready = states.get("ready", 0)
    duplicates = _render_duplicates(progress.duplicates - progress.copies, progress.copies, ready)
    sentences = [f"{format_count(ready, 'file is', 'files are')} searchable{duplicates}."]
    if progress.removed:
        removed = format_count(progress.removed, "file was", "files were")
        sentences.append(f"{removed} removed from the library before: sploot add --force uploads again.")
    if skipped := states.get("skipped", 0) - progress.removed:
        why = _render_reasons(progress.errors, SKIP_REASONS)
        sentences.append(f"{format_count(skipped, 'file was', 'files were')} skipped{why}: sploot list --state skipped")
    if states.get("missing"):
        sentences.append(f"{format_count(states['missing'], 'file')} disappeared before the upload.")
    if failed := states.get("failed", 0):
        why = _render_reasons(progress.errors, FAILURE_REASONS)
        sentences.append(f"{format_count(failed, 'file')} failed{why}. What to do: sploot failed")
    else:
        sentences.append("0 files failed.")
    return sentences


def _render_reasons(errors: Mapping[str, int], reasons: Mapping[str, str]) -> str:
    """Render why files ended otherwise than ready, the most frequent reason first."""
    known = sorted(((number, reasons[code]) for code, number in errors.items() if code in reasons), reverse=True)
    return f" ({', '.join(f'{number:,} {reason}' for number, reason in known)})" if known else ""


def _render_duplicates(found: int, copies: int, ready: int) -> str:
    """Render how many of the files the library had before, and how many are copies of others in the same import."""
    which = "it was" if ready == 1 else "all were" if found == ready else format_count(found, "was", "were")
    parts = [f"{which} already in the library"] if found else []
    parts += [f"{format_count(copies, 'is a copy', 'are copies')} of other files"] if copies else []
    return f" ({', '.join(parts)})" if parts else ""


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
            # One cell stays free: some terminals wrap as soon as the last one is filled, and `\r` would then return to
            # the start of another row.
            columns = max(1, (get_columns(sys.stderr) or COLUMNS_UNKNOWN) - 1)
            shown = render_progress(meter, note, self._style, columns=columns)
            print(f"\r{_ERASE}{shown}", end="", file=sys.stderr, flush=True)
        elif time.monotonic() >= self._next_line_at:
            self._next_line_at += LINE_INTERVAL_S
            print(render_progress(meter, note, self._style), file=sys.stderr, flush=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Erase the progress line."""
        if self._is_live and not self._is_quiet:
            print(f"\r{_ERASE}", end="", file=sys.stderr, flush=True)
