"""Compare the server's embeddings per second with its models in a plain loop.

    python benchmarks/embedding.py [--count 60] [--rounds 3]

Both analyse the same captioned memes, in turn. The loop is what a short script would do: one process with the models
loaded, one thread per processor, nothing stored. The server is timed from the first upload to the last embedding, over
HTTP and including its database; its workers are started before, just as the loop's models are loaded before.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
from search import library, memes, served  # also makes the modules of the tests importable
from side_by_side import ratio, rounds, show
from sploot_server.inference.image_analysis import ImageAnalyzer
from sploot_server.inference.text_encoder import TextEncoder

WARM = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=60, help="memes in each round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        reader = ImageAnalyzer(TextEncoder(), None)
        folders = iter(range(arguments.rounds * 2))

        def drawn() -> list[memes.Meme]:
            """Render new memes each time: the server stores the same bytes only once."""
            seed = next(folders) // 2
            return memes.make(Path(scratch, str(seed)), count=arguments.count, seed=100 + seed)

        with served(Path(scratch, "server"), arguments.threads) as client:
            library(client, memes.make(Path(scratch, "warm"), count=WARM, seed=99))
            loop([meme.path for meme in memes.make(Path(scratch, "warm"), count=WARM, seed=99)], reader, 1)
            contenders = {
                "server": lambda: embedded(client, drawn()),
                "loop": lambda: loop([meme.path for meme in drawn()], reader, arguments.threads),
            }
            took = rounds(arguments.rounds, contenders)
    for name, times in took.items():
        show(f"{name}: {arguments.count} memes", f"{min(times):.1f} s", f"{arguments.count / min(times):.1f} memes/s")
    show("the server against the loop", f"{ratio(took['server'], took['loop']):.2f} x", "at most 1.15 x")


def embedded(client: httpx.Client, drawn: Sequence[memes.Meme]) -> float:
    started = time.perf_counter()
    library(client, drawn)
    return time.perf_counter() - started


def loop(paths: Sequence[Path], reader: ImageAnalyzer, threads: int) -> float:
    started = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(reader.analyze, paths))
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
