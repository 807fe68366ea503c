"""Run a long soak test: `python benchmarks/soak.py` (`--minutes` for less or more).

Prints every minute the daemon's memory and descriptors while files arrive and disappear, subscribers come and go, some
of them without reading, and the push connection breaks; at the end, the growth. The tests run the same for a minute.
"""

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from soak_fixtures import soak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soak-") as scratch:
        done = asyncio.run(soak(Path(scratch), seconds=arguments.minutes * 60))
    turns, rss = len(done.rss_kb), done.rss_kb
    for part in range(10):
        at = min(turns - 1, turns * part // 9)
        print(f"after {part * arguments.minutes / 9:5.1f} min  {rss[at] / 1024:6.1f} MB  {done.descriptors[at]:4} open")
    print(f"{turns:,} turns, {done.ready:,} files ready, {turns * 5:,} subscribers came and left")
    print(f"memory grew by {done.rss_growth_kb() / 1024:.1f} MB, descriptors by {done.descriptor_growth()}")


if __name__ == "__main__":
    main()
