"""Measure contenders side by side: they take turns, and the ratio within one round counts.

A busy machine slows both sides of a round, so the median of the ratios is stable where times are not.
"""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

T = TypeVar("T")


def timed(action: Callable[[], Any]) -> float:
    """Return the wall time in seconds."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def rounds(count: int, contenders: Mapping[str, Callable[[], T]]) -> dict[str, list[T]]:
    """Return the figures of each contender, mostly seconds, from `count` rounds, every other one in reverse order."""
    took: dict[str, list[T]] = {name: [] for name in contenders}
    for number in range(count):
        names = list(contenders)
        for name in reversed(names) if number % 2 else names:
            took[name].append(contenders[name]())
    return took


def ratio(above: Sequence[float], below: Sequence[float]) -> float:
    """Return the median of the ratios, round by round."""
    return statistics.median(one / other for one, other in zip(above, below, strict=True))


def show(what: str, figure: str, target: str = "") -> None:
    print(f"{what:<72} {figure:>16}   {target}".rstrip(), flush=True)
