"""Measuring side by side: contenders take turns, and what counts is their ratio within one round.

A busy machine makes both sides of a round slow together, so the median of the ratios holds where times do not.
"""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

T = TypeVar("T")


def timed(action: Callable[[], Any]) -> float:
    """Wall time in seconds."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def rounds(count: int, contenders: Mapping[str, Callable[[], T]]) -> dict[str, list[T]]:
    """What each contender says of itself, most often its seconds, in `count` rounds, every other one backwards."""
    took: dict[str, list[T]] = {name: [] for name in contenders}
    for number in range(count):
        names = list(contenders)
        for name in reversed(names) if number % 2 else names:
            took[name].append(contenders[name]())
    return took


def ratio(above: Sequence[float], below: Sequence[float]) -> float:
    """The median of the ratios, round by round."""
    return statistics.median(one / other for one, other in zip(above, below, strict=True))


def show(what: str, figure: str, target: str = "") -> None:
    print(f"{what:<72} {figure:>16}   {target}".rstrip(), flush=True)
