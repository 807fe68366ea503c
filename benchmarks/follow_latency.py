"""Measure the delay of `status --follow`: `python benchmarks/follow_latency.py` (`--count` embeddings in sequence).

Prints the time from the completion of an embedding on the server, over WebSocket and the daemon's store, to the line of
`sploot status --follow` that shows it.
"""

import argparse
import asyncio
import statistics
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from screenlag import measure_lags


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=100)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="live-") as scratch:
        measured = sorted(asyncio.run(measure_lags(Path(scratch), count=arguments.count)))
    print(f"{len(measured)} embeddings, from completion to the line on the screen:")
    p99 = measured[int(0.99 * (len(measured) - 1))]
    print(f"median {statistics.median(measured) * 1000:.0f} ms, p99 {p99 * 1000:.0f} ms, slowest", end=" ")
    print(f"{measured[-1] * 1000:.0f} ms")


if __name__ == "__main__":
    main()
