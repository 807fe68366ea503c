"""How live the screen is: `python benchmarks/live.py` (`--count` embeddings, one after the other).

Prints the time from an embedding's end at the server, over WebSocket and the daemon's store, to the line of
`sploot status --follow` that shows it.
"""

import argparse
import asyncio
import statistics
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from screenlag import lags


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=100)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="live-") as scratch:
        measured = sorted(asyncio.run(lags(Path(scratch), count=arguments.count)))
    print(f"{len(measured)} embeddings made, to the line on the screen that shows each:")
    p99 = measured[int(0.99 * (len(measured) - 1))]
    print(f"median {statistics.median(measured) * 1000:.0f} ms, p99 {p99 * 1000:.0f} ms, slowest", end=" ")
    print(f"{measured[-1] * 1000:.0f} ms")


if __name__ == "__main__":
    main()
