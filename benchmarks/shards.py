"""How evenly real paths spread over the shards: python benchmarks/shards.py [FOLDER...].

Of every 10,000 files as a walk finds them, and of as many picked by chance: how far the shard that is furthest from
even is from it. No hash can promise more than dice do, which are shown beside it; counted names are spread far better.
"""

import argparse
import os
import random
import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from paired import show

from splootd.core.item import SHARDS, shard_of

PATHS = 10_000
PICKS = 50
LIMIT = 0.10


def spread(paths: Sequence[bytes]) -> float:
    return furthest([shard_of(path) for path in paths])


def furthest(shards: Sequence[int]) -> float:
    """How far the shard that is furthest from even is from it, as a share of even."""
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
    show("within 10 % of even; furthest from it, median and maximum:", "")
    tell("real paths", [spread(each) for each in samples(arguments.folders, chance)])
    tell("dice", [furthest(chance.choices(range(SHARDS), k=PATHS)) for _ in range(PICKS)])
    named = [[b"/home/%d/IMG_%05d.jpg" % (n, each) for each in range(PATHS)] for n in range(PICKS)]
    tell("names as a camera counts them", [spread(each) for each in named])


if __name__ == "__main__":
    main()
