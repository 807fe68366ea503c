"""Power cuts of the real programs on a real file system: every acknowledged write is there afterwards.

Needs root for the mounts; `test_crash_states` tests the same without it. `python -m lab cuts` runs many more.
"""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab import mounts
from lab.cuts import cut_the_library, cut_the_store

CUTS = 3  # of each program on each file system

pytestmark = pytest.mark.root


@pytest.fixture(params=["ext4", "xfs"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[mounts.PowerCuts]:
    if reason := mounts.why_not(request.param):
        pytest.skip(reason)
    with mounts.power_cuts(request.param, tmp_path) as disk:
        yield disk


def test_a_power_cut_loses_no_acknowledged_write_of_the_queue(disk: mounts.PowerCuts, seed: int) -> None:
    kept = [cut_the_store(disk, seed + number) for number in range(CUTS)]
    assert sum(kept) > CUTS


def test_a_power_cut_loses_no_acknowledged_upload(disk: mounts.PowerCuts, seed: int) -> None:
    kept = [cut_the_library(disk, seed + number) for number in range(CUTS)]
    assert sum(kept) >= CUTS


CARELESS = """
import os, sys
for number in range(100):
    with open(sys.argv[1] + "/new", "w") as file:
        file.write("x" * 10_000)
    os.rename(sys.argv[1] + "/new", f"{sys.argv[1]}/{number}")
"""


def test_a_power_cut_loses_unsynced_data(disk: mounts.PowerCuts) -> None:
    """Without this the tests above prove nothing."""
    subprocess.run([sys.executable, "-c", CARELESS, disk.root], check=True)
    assert (disk.root / "0").stat().st_size == 10_000
    disk.cut()
    disk.restore_power()
    assert not any(file.is_file() and file.stat().st_size for file in disk.root.iterdir())
