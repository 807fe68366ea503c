"""Each case of this folder reports its time and the peak memory of the programs under test at the end of the run."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from _pytest.terminal import TerminalReporter

RESET_PEAK = "5"  # of VmHWM, by /proc/PID/clear_refs (proc(5))
costs: dict[str, tuple[float, int]] = {}


def descendants() -> Iterator[Path]:
    """Yield the folders in /proc of all processes that this one has started, theirs included."""
    pending = ["self"]
    while pending:
        for children in Path(f"/proc/{pending.pop()}/task").glob("*/children"):
            with contextlib.suppress(OSError):  # it has ended
                pids = children.read_text().split()
                pending += pids
                yield from (Path("/proc", pid) for pid in pids)


def peak_kb(process: Path) -> int:
    """Return the peak resident memory of a process in kilobytes; 0 if it has ended."""
    with contextlib.suppress(OSError):
        for line in (process / "status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
    return 0


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Measure one case."""
    for process in descendants():
        with contextlib.suppress(OSError):
            (process / "clear_refs").write_text(RESET_PEAK)
    began = time.perf_counter()
    try:
        return (yield)
    finally:
        largest = max(map(peak_kb, descendants()), default=0)
        costs[item.nodeid] = (time.perf_counter() - began, largest)


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """Print what each case has cost."""
    if costs:
        terminalreporter.section("time, and peak memory of the largest process under test")
    for name, (elapsed_s, largest) in sorted(costs.items(), key=lambda each: each[1], reverse=True):
        terminalreporter.write_line(f"{elapsed_s:8.2f} s {largest / 1000:8.0f} MB  {name}")
