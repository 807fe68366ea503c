"""A short form of `benchmarks/soak.py`: memory and descriptors do not grow with subscribers, nor with time."""

from pathlib import Path

from soak_fixtures import soak

SOAK_S = 20
GROWTH_KB_MAX = 3_000  # SQLite's page cache fills up to 2 MB
DESCRIPTORS_MAX = 3  # a request may be in progress when they are counted


async def test_subscribers_that_come_and_go_leak_nothing(tmp_path: Path):
    result = await soak(tmp_path, seconds=SOAK_S)
    assert result.ready > 0
    assert result.rss_growth_kb() < GROWTH_KB_MAX, result.rss_kb
    assert result.descriptor_growth() <= DESCRIPTORS_MAX, result.descriptors
