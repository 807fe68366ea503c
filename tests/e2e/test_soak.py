"""A short form of `benchmarks/soak.py`: what the daemon takes does not grow with listeners, nor with time."""

from pathlib import Path

from soaking import soak

SOAK_S = 60
GROWTH_KB_MAX = 3_000  # SQLite's page cache fills up to 2 MB
DESCRIPTORS_MAX = 3  # a question may be under way when they are counted


async def test_listeners_that_come_and_go_leave_nothing_behind(tmp_path: Path):
    done = await soak(tmp_path, seconds=SOAK_S)
    assert done.ready > 0
    assert done.grown_kb() < GROWTH_KB_MAX, done.rss_kb
    assert done.descriptors_grown() <= DESCRIPTORS_MAX, done.descriptors
