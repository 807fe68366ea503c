"""Measure how often and how fast a search finds the right meme.

    python benchmarks/search.py [--seed 11]          every captioned meme, analysed by the real server
    python benchmarks/search.py --scale 100000       searches among that many synthetic assets, nothing analysed

The first prints recall@1, recall@5 and the mean reciprocal rank for each kind of query, among all captions of the
tests. The queries that were never used for tuning are listed beside the others. It also searches for nonsense, and
measures the start of a worker and the first search after a start.
"""

import argparse
import contextlib
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import httpx

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import captions
import memes
from side_by_side import show
from sploot_server.inference.worker_pool import ENVIRONMENT
from synthetic_assets import fill
from toy_library import ServerProcess

RESULTS = 50  # results examined; a meme beyond them counts as not found
READY_S_MAX = 900
STARTS = 5
NONSENSE = 40

Query = Callable[[memes.Meme], str | None]


def ways(seed: int) -> dict[str, Query]:
    rng = random.Random(seed)
    return {
        "quotes": lambda meme: meme.caption,
        "partial quotes": lambda meme: captions.partial(meme.caption, rng),
        "typos": lambda meme: captions.typo(meme.caption, rng),
        "typos in partial quotes": lambda meme: captions.typo(captions.partial(meme.caption, rng), rng),
        "glued words": lambda meme: captions.glued(meme.caption),
        "English paraphrases": lambda meme: meme.paraphrase if meme.language == "en" else None,
        "English, for foreign captions": lambda meme: None if meme.language == "en" else meme.paraphrase,
        "foreign, for English captions": lambda meme: meme.foreign,
    }


BETWEEN_LANGUAGES = ("English, for foreign captions", "foreign, for English captions")
TARGETS = {
    "quotes": "1.00",
    "typos": "1.00",
    "English paraphrases": ".50 .82",
    "between languages": ".38 .68",
}


@contextlib.contextmanager
def served(data: Path, threads: int) -> Iterator[httpx.Client]:
    server = ServerProcess(data, "--threads", str(threads))
    with server.client() as client:
        client.timeout = httpx.Timeout(60)
        yield client
    server.stop()


def library(client: httpx.Client, drawn: Sequence[memes.Meme]) -> dict[str, memes.Meme]:
    """Return all memes by asset id, once each is ready."""
    ids = {}
    for meme in drawn:
        answer = client.post("/api/upload", files={"file": (meme.path.name, meme.path.read_bytes())}).json()
        ids[answer["asset"]["id"]] = meme
    left, until = list(ids), time.monotonic() + READY_S_MAX
    while left:
        assert time.monotonic() < until, f"{len(left)} memes were not analysed in time"
        batch = left[:50]
        statuses = client.post("/api/assets/batch/embedding-status", json={"assetIds": batch}).json()["statuses"]
        left = [each for each in batch if statuses[each]["status"] != "ready"] + left[50:]
        time.sleep(0.05)
    return ids


def places(client: httpx.Client, ids: dict[str, memes.Meme], query: Query) -> dict[str, float]:
    """Return the rank of each meme, from 1; infinity if it was not found."""
    found = {}
    for asset_id, meme in ids.items():
        text = query(meme)
        if text is None:
            continue
        results = client.post("/api/search", json={"query": text, "limit": RESULTS, "threshold": 0}).json()["results"]
        answers = [result["id"] for result in results]
        found[asset_id] = answers.index(asset_id) + 1 if asset_id in answers else float("inf")
    return found


def quality(seed: int, threads: int) -> None:
    tuned, held_out, others = (captions.corpus(file) for file in (captions.CORPUS, captions.HELD_OUT, captions.OTHERS))
    known = {caption.text for caption in tuned}
    with tempfile.TemporaryDirectory() as scratch:
        data = Path(scratch, "library")
        with served(data, threads) as client:
            ids = library(client, memes.draw(Path(scratch, "memes"), [*tuned, *held_out, *others], seed))
            print(f"{len(ids)} memes; queries for {len(tuned)} used for tuning, for {len(held_out)} others, for both")
            print(f"{'':<30}" + 3 * f"{'queries':>10}{'@1':>7}{'@5':>7}{'MRR':>7}" + "  at least @1 @5")
            found = {name: places(client, ids, query) for name, query in ways(seed).items()}
            found["between languages"] = {each: rank for way in BETWEEN_LANGUAGES for each, rank in found[way].items()}
            for name, ranks in found.items():
                halves = [[at for each, at in ranks.items() if (ids[each].caption in known) == half] for half in (1, 0)]
                print(f"{name:<30}{''.join(map(figures, (*halves, [*ranks.values()])))}  {TARGETS.get(name, '')}")
            show("nonsense that finds nothing", f"{nonsense_rejected(client, seed)} of {NONSENSE}", "all")
        first = [first_search(data) for _ in range(STARTS)]
    show(
        "a query worker is ready, median",
        f"{1000 * statistics.median(ready_s() for _ in range(STARTS)):.0f} ms",
        "1000 ms",
    )
    show(
        "an image worker is ready, median",
        f"{1000 * statistics.median(ready_s('--images') for _ in range(STARTS)):.0f} ms",
        "1000 ms",
    )
    show("first search after a start, median", f"{1000 * statistics.median(first):.0f} ms", "400 ms")


def nonsense_rejected(client: httpx.Client, seed: int) -> int:
    """Return how many made-up words find nothing."""
    rng = random.Random(seed)
    words = ["".join(rng.choices("bcdfghjklmnpqrstvwxz", k=rng.randint(5, 9))) for _ in range(NONSENSE)]
    results = [client.post("/api/search", json={"query": word}).json()["results"] for word in words]
    return sum(all(result["belowThreshold"] for result in each) for each in results)


def first_search(data: Path) -> float:
    with served(data, 1) as client:
        return timed(client, "a cat that works in an office")


def ready_s(*options: str) -> float:
    """Return the time from the start of a worker process to its first line."""
    started = time.perf_counter()
    worker = subprocess.Popen(
        [sys.executable, "-m", "sploot_server.inference.worker_main", *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, **ENVIRONMENT},
    )
    assert worker.stdout is not None
    worker.stdout.readline()
    took = time.perf_counter() - started
    worker.communicate()
    return took


def figures(ranks: Sequence[float]) -> str:
    reciprocal = statistics.mean(1 / rank for rank in ranks)
    return f"{len(ranks):>10}{recall(ranks, 1):>7.3f}{recall(ranks, 5):>7.3f}{reciprocal:>7.3f}"


def recall(ranks: Sequence[float], among: int) -> float:
    return sum(rank <= among for rank in ranks) / len(ranks)


def speed(count: int, queries: int) -> None:
    """Search in sequence, as a person does; the first search includes loading the models."""
    with tempfile.TemporaryDirectory() as scratch:
        show(f"filling a library with {count:,} assets", f"{fill(Path(scratch), count):.0f} s")
        with served(Path(scratch), threads=1) as client:
            rng = random.Random(1)
            texts = [
                query(caption) for caption in rng.sample(captions.corpus(), queries // 4) for query in query_kinds(rng)
            ]
            first, *rest = [timed(client, text) for text in texts]
            filtered = [timed(client, text, favorite=True) for text in texts]
    show("first search after a start", f"{first * 1000:.0f} ms")
    show("a search, p50 / p95", f"{statistics.median(rest) * 1000:.0f} / {p95(rest) * 1000:.0f} ms", "p95 < 50 ms")
    show("among favourites, p50 / p95", f"{statistics.median(filtered) * 1000:.0f} / {p95(filtered) * 1000:.0f} ms")


def query_kinds(rng: random.Random) -> Sequence[Callable[[captions.Caption], str]]:
    return (
        lambda caption: caption.text,
        lambda caption: captions.partial(caption.text, rng),
        lambda caption: captions.typo(caption.text, rng),
        lambda caption: caption.paraphrase or caption.top,
    )


def timed(client: httpx.Client, text: str, **filters: object) -> float:
    started = time.perf_counter()
    client.post("/api/search", json={"query": text, **filters}).raise_for_status()
    return time.perf_counter() - started


def p95(times: Sequence[float]) -> float:
    return statistics.quantiles(times, n=20)[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=11, help="which images are rendered")
    parser.add_argument("--threads", type=int, default=2, help="pictures read at once")
    parser.add_argument("--scale", type=int, metavar="N", help="only measure searches among N synthetic assets")
    parser.add_argument("--queries", type=int, default=200)
    arguments = parser.parse_args()
    if arguments.scale:
        speed(arguments.scale, arguments.queries)
    else:
        quality(arguments.seed, arguments.threads)


if __name__ == "__main__":
    main()
