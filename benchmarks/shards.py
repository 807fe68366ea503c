"""Measure how evenly real paths spread over the shards: `python benchmarks/shards.py [FOLDER...]`.

For every 10,000 files in scan order, and for as many picked at random: the distance of the most uneven shard from an
even share. No hash can promise more than a random distribution, which is printed beside it; numbered names spread far
more evenly.
"""

import argparse
import os
import random
import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from side_by_side import show

from splootd.core.item import SHARDS, shard_for

PATHS = 10_000
PICKS = 50
LIMIT = 0.10


def spread(paths: Sequence[bytes]) -> float:
    return furthest([shard_for(path) for path in paths])


def furthest(shards: Sequence[int]) -> float:
    """Return the distance of the most uneven shard from an even share, as a fraction of it."""
    even, count = len(shards) / SHARDS, Counter(shards)
    return max(abs(count[shard] - even) / even for shard in range(SHARDS))


def samples(folders: Sequence[str], chance: random.Random) -> Iterator[Sequence[bytes]]:
    for folder in folders:
        paths = [os.fsencode(path) for path in Path(folder).rglob("*") if path.is_file()]
        yield from (paths[start : start + PATHS] for start in range(0, len(paths) - PATHS + 1, PATHS))
        if len(paths) >= PATHS:
            yield from (chance.sample(paths, PATHS) for _ in range(PICKS))


def tell(what: str, found: Sequence[float]) -> None:
    within = sum(each <= LIMIT for each in found) / len(found)
    show(f"{what} ({len(found)} times)", f"{within:.0%}; {statistics.median(found):.1%}; {max(found):.1%}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="*", default=["/usr/share", "/usr/lib"], metavar="FOLDER")
    arguments = parser.parse_args()
    chance = random.Random(7)
    show("within 10 % of even; distance of the most uneven shard, median and maximum:", "")
    tell("real paths", [spread(each) for each in samples(arguments.folders, chance)])
    tell("dice", [furthest(chance.choices(range(SHARDS), k=PATHS)) for _ in range(PICKS)])
    named = [[b"/home/%d/IMG_%05d.jpg" % (n, each) for each in range(PATHS)] for n in range(PICKS)]
    tell("names as a camera numbers them", [spread(each) for each in named])


if __name__ == "__main__":
    main()
