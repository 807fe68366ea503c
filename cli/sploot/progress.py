"""How far an add has come: measured, drawn, and told in the end."""

import sys
import time
from collections import deque
from collections.abc import Callable
from typing import Self

from sploot.render import Style
from sploot.terminal import obeys
from sploot.text import count, seconds_since, size, span
from splootd.protocol import Progress

WINDOW_S = 20.0  # what the rates look back on
KNOWN_S = 5.0  # how long to look before saying how long it will take
BAR_WIDTH = 24
LINE_S = 1.0  # between lines when nobody sees a bar move

_ERASE, _NO_WRAP, _WRAP = "\x1b[K", "\x1b[?7l", "\x1b[?7h"

ENDED = ("ready", "dead", "gone", "skipped")


class Meter:
    """Rates and the time left, from the snapshots of the last WINDOW_S. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, Progress]] = deque()
        self._moved_at: float | None = None

    @property
    def now(self) -> Progress:
        return self._seen[-1][1]

    def note(self, progress: Progress, at: float) -> None:
        if not self._seen or self.now != progress:
            self._moved_at = at
        if self._seen and self.now.due_at is not None and progress.due_at is None:
            self._seen.clear()  # how long nothing could move says nothing of how fast it goes on
        self._seen.append((at, progress))
        while at - self._seen[0][0] > WINDOW_S:
            self._seen.popleft()

    def still_s(self, at: float) -> float:
        """How long nothing has moved."""
        return 0.0 if self._moved_at is None else at - self._moved_at

    def bytes_per_s(self) -> float | None:
        """None until it is known."""
        return self._rate(lambda progress: progress.bytes_done)

    def eta_s(self) -> float | None:
        """None until it is known: while folders are still walked, nobody knows how much there is."""
        rate = self._rate(ended)
        return None if self.now.walking or not rate else (self.now.total - ended(self.now)) / rate

    def _rate(self, of: Callable[[Progress], float]) -> float | None:
        (first_at, first), (last_at, last) = self._seen[0], self._seen[-1]
        passed_s = last_at - first_at
        return (of(last) - of(first)) / passed_s if passed_s >= KNOWN_S else None


def ended(progress: Progress) -> int:
    """How many files have ended, one way or another."""
    return sum(progress.states.get(state, 0) for state in ENDED)


def line(meter: Meter, note: str, style: Style, *, with_bar: bool) -> str:
    """One line: files and bytes, duplicates apart from what is sent, errors even when there are none."""
    now = meter.now
    done = ended(now) / now.total if now.total else 0.0
    errors = now.states.get("dead", 0)
    rate, eta = meter.bytes_per_s(), meter.eta_s()
    parts = [
        bar(done) if with_bar else "",
        f"{done:4.0%}",
        f"{ended(now):,} of {count(now.total, 'file')}{' so far' if now.walking else ''}",
        f"{size(now.bytes_done)} of {size(now.bytes_total)}",
        count(now.duplicates, "duplicate") if now.duplicates else "",
        f"{now.states['embedding']:,} embedding" if now.states.get("embedding") else "",
        (style.bad if errors else str)(count(errors, "error")),
        f"{size(rate)}/s" if rate and now.due_at is None else "",
        _left(now, eta),
        style.warn(note) if note else "",
    ]
    return "  ".join(part for part in parts if part)


def _left(now: Progress, eta_s: float | None) -> str:
    """How long it takes; at least until its time has come, for what waits for that, whatever the rate was before."""
    wait_s = 0.0 if now.due_at is None else -seconds_since(now.due_at)
    if wait_s > 0:
        return f"{count(now.total - ended(now), 'file waits', 'files wait')} for at least {span(wait_s)}"
    return f"{span(eta_s)} left" if eta_s is not None else "estimating"


def bar(done: float) -> str:
    filled = int(done * BAR_WIDTH)
    return f"[{'#' * filled}{'-' * (BAR_WIDTH - filled)}]"


def ending(last: Progress) -> list[str]:
    """What has come of it, in plain sentences."""
    if not last.total:
        return ["There was nothing new to send."]
    states = last.states
    duplicates = f", {last.duplicates:,} of them in the library before" if last.duplicates else ""
    sentences = [f"{count(states.get('ready', 0), 'file is', 'files are')} searchable{duplicates}."]
    if states.get("skipped"):
        sentences.append(f"{count(states['skipped'], 'file was', 'files were')} skipped: sploot list --state skipped")
    if states.get("gone"):
        sentences.append(f"{count(states['gone'], 'file', 'files')} vanished before being sent.")
    dead = states.get("dead", 0)
    sentences.append(f"{count(dead, 'file', 'files')} failed{': sploot failed' if dead else '.'}")
    return sentences


class Screen:
    """Draws the line in place on a terminal, and as plain lines, at most one a second, anywhere else.

    It goes where errors go: what is printed as data stays clean.
    """

    def __init__(self, style: Style, *, is_quiet: bool) -> None:
        self._style = style
        self._is_quiet = is_quiet
        self._is_live = obeys(sys.stderr)
        self._next_line_at = time.monotonic()

    def draw(self, meter: Meter, note: str) -> None:
        if self._is_quiet or not meter.now.total:
            return
        if self._is_live:
            shown = line(meter, note, self._style, with_bar=True)
            print(f"\r{_ERASE}{_NO_WRAP}{shown}{_WRAP}", end="", file=sys.stderr, flush=True)
        elif time.monotonic() >= self._next_line_at:
            self._next_line_at += LINE_S
            print(line(meter, note, self._style, with_bar=False), file=sys.stderr, flush=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the line to whatever is printed next."""
        if self._is_live and not self._is_quiet:
            print(f"\r{_ERASE}", end="", file=sys.stderr, flush=True)
