"""The power goes while the real programs work on a real file system: what they acknowledged is there afterwards.

Needs root for the mounts; `test_crash_states` asks the same question without it. Many more: `python -m lab cuts`.
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


def test_a_power_cut_takes_nothing_that_the_queue_has_acknowledged(disk: mounts.PowerCuts, seed: int) -> None:
    kept = [cut_the_store(disk, seed + number) for number in range(CUTS)]
    assert sum(kept) > CUTS


def test_a_power_cut_takes_no_upload_that_was_answered(disk: mounts.PowerCuts, seed: int) -> None:
    kept = [cut_the_library(disk, seed + number) for number in range(CUTS)]
    assert sum(kept) >= CUTS


CARELESS = """
import os, sys
for number in range(100):
    with open(sys.argv[1] + "/new", "w") as file:
        file.write("x" * 10_000)
    os.rename(sys.argv[1] + "/new", f"{sys.argv[1]}/{number}")
"""


def test_a_cut_takes_what_was_not_synced(disk: mounts.PowerCuts) -> None:
    """Else the tests above prove nothing."""
    subprocess.run([sys.executable, "-c", CARELESS, disk.root], check=True)
    assert (disk.root / "0").stat().st_size == 10_000
    disk.cut()
    disk.come_back()
    assert not any(file.is_file() and file.stat().st_size for file in disk.root.iterdir())
