"""What `status --follow` shows, and how soon: the real daemon, a real library over TCP, the real command."""

import statistics
from pathlib import Path

from screenlag import lags

COUNT = 15
SOON_S = 0.2


async def test_an_embedding_that_is_made_is_on_the_screen_within_a_fifth_of_a_second(tmp_path: Path):
    """The median of several, for other programs want the processor too; `benchmarks/live.py` prints the slowest."""
    assert statistics.median(await lags(tmp_path, count=COUNT)) < SOON_S
