"""The latency of `sploot status --follow` with a real daemon and a real library over TCP."""

import statistics
from pathlib import Path

from screenlag import measure_lags

COUNT = 15
LATENCY_MAX_S = 0.2


async def test_a_new_embedding_is_on_the_screen_within_a_fifth_of_a_second(tmp_path: Path):
    """The test takes the median, because the processor is shared; `benchmarks/follow_latency.py` prints all."""
    assert statistics.median(await measure_lags(tmp_path, count=COUNT)) < LATENCY_MAX_S
