"""Making embeddings: the library on all processors against its models in a plain loop.

    python benchmarks/embedding.py [--count 60] [--rounds 3]

Both read the same captioned memes, in turn. The loop is what a script of a dozen lines would do: one process that has
the models loaded, a thread for each processor, nothing stored. The library is timed from the first upload to the last
embedding, over HTTP, its database and all; its workers have been started before, as the loop's models have.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
from paired import ratio, rounds, show
from search import library, memes, served  # makes the tests' modules importable, too
from sploot_server.meaning import Meaning
from sploot_server.reading import Reader

WARM = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=60, help="memes in each round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        reader = Reader(Meaning(), None)
        folders = iter(range(arguments.rounds * 2))

        def drawn() -> list[memes.Meme]:
            """Fresh ones each time: the library takes the same bytes only once."""
            seed = next(folders) // 2
            return memes.make(Path(scratch, str(seed)), count=arguments.count, seed=100 + seed)

        with served(Path(scratch, "library"), arguments.threads) as client:
            library(client, memes.make(Path(scratch, "warm"), count=WARM, seed=99))
            loop([meme.path for meme in memes.make(Path(scratch, "warm"), count=WARM, seed=99)], reader, 1)
            contenders = {
                "library": lambda: embedded(client, drawn()),
                "loop": lambda: loop([meme.path for meme in drawn()], reader, arguments.threads),
            }
            took = rounds(arguments.rounds, contenders)
    for name, times in took.items():
        show(f"{name}: {arguments.count} memes", f"{min(times):.1f} s", f"{arguments.count / min(times):.1f} memes/s")
    show("the library against the loop", f"{ratio(took['library'], took['loop']):.2f} x", "at most 1.15 x")


def embedded(client: httpx.Client, drawn: Sequence[memes.Meme]) -> float:
    started = time.perf_counter()
    library(client, drawn)
    return time.perf_counter() - started


def loop(paths: Sequence[Path], reader: Reader, threads: int) -> float:
    started = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(reader.read, paths))
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
