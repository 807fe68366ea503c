"""Measure what one member can do to another: `python benchmarks/fair_shares.py [--assets N] [--seconds S]`.

Ben opens his wall, searches and uploads, one after the other, first alone, then while Anna does her worst: on more
connections than the server admits of one member she uploads, asks for thumbnails that must be rendered, and searches.
The clients and the work for both members share the same processors.
"""

import argparse
import asyncio
import itertools
import random
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import memes
from members import CONNECTIONS, Library, corpus_words, one_server, open_wall, percentile, search, send_picture
from side_by_side import show

ANNA, BEN = 0, 1
FLOODS = 8  # connections of each kind
SIDES_PX = (64, 128, 512, 1024, 2048)
RATIO_MAX = 2.0


async def use(library: Library, pictures: Sequence[bytes], seconds: float, name: str) -> None:
    """Do what Ben does."""
    rng, clients = random.Random(BEN), [library.client(BEN) for _ in range(CONNECTIONS)]
    until = time.monotonic() + seconds
    for number in itertools.count():
        if time.monotonic() > until:
            return
        await open_wall(library, clients)
        await search(library, clients[0], rng, corpus_words())
        await send_picture(library, clients[0], pictures[number % len(pictures)] + f"{name} {number}".encode())


def floods(library: Library, pictures: Sequence[bytes]) -> Sequence[Callable[[int], Coroutine[Any, Any, None]]]:
    """Return what Anna does without end on each of her connections, by their numbers."""
    hers = Library(library.tokens, library.servers)  # her times do not count

    async def searches(number: int) -> None:
        client, rng = hers.client(ANNA), random.Random(number)
        while True:
            await search(hers, client, rng, corpus_words())

    async def uploads(number: int) -> None:
        client = hers.client(ANNA)
        for count in itertools.count():
            await send_picture(hers, client, pictures[count % len(pictures)] + f"flood {number} {count}".encode())

    async def thumbnails(number: int) -> None:
        client = hers.client(ANNA)
        for count in itertools.count():
            data = pictures[count % len(pictures)] + f"shown {number} {count}".encode()
            asset_id = await send_picture(hers, client, data)
            for side_px in SIDES_PX:
                await client.request("GET", f"/api/assets/{asset_id}/thumbnail?size={side_px}")

    return searches, uploads, thumbnails


async def measure(library: Library, pictures: Sequence[bytes], seconds: float) -> Sequence[Library]:
    """Return the times of Ben alone, and beside Anna. The first searches start the worker and read the vectors."""
    alone, beside = (Library(library.tokens, library.servers) for _ in range(2))
    for member in (ANNA, BEN):
        await library.client(member).request("POST", "/api/search", b'{"query": "cat"}')
    await use(alone, pictures, seconds, "alone")
    flooding = [asyncio.create_task(flood(number)) for flood in floods(library, pictures) for number in range(FLOODS)]
    await use(beside, pictures, seconds, "beside")
    for flood in flooding:
        flood.cancel()
    ended = await asyncio.gather(*flooding, return_exceptions=True)
    for error in ended:
        if not isinstance(error, asyncio.CancelledError):
            raise RuntimeError("a flood ended by itself") from error  # noqa: TRY004 - not about its type
    return alone, beside


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--assets", type=int, default=20_000)
    parser.add_argument("--seconds", type=float, default=30)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        made = [each.path for each in memes.make(Path(name) / "memes", count=20)]
        with one_server(Path(name), arguments.assets, made[0]) as library:
            pictures = [each.read_bytes() for each in made]
            alone, beside = asyncio.run(measure(library, pictures, arguments.seconds))
    for kind in ("wall", "search", "upload"):
        p95_ms = [1000 * percentile(each.took_s[kind], 0.95) for each in (alone, beside)]
        show(f"{kind} of {len(alone.took_s[kind])} and {len(beside.took_s[kind])}: p95 alone", f"{p95_ms[0]:.0f} ms")
        show("  p95 while another member does their worst", f"{p95_ms[1]:.0f} ms")
        show("  ratio", f"{p95_ms[1] / p95_ms[0]:.1f} x", f"at most {RATIO_MAX:.0f} x")


if __name__ == "__main__":
    main()
