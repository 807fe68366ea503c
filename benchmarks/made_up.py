"""A library of very many assets that nobody has read: texts of real words, vectors as clustered as real ones."""

import asyncio
import random
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import captions
from sploot_server.assets.database import Database
from sploot_server.looks import LOOK_BITS, bands
from sploot_server.words import squeeze, trigrams
from sploot_server.workers import WorkerEmbedder

CLUSTER = 1.2  # how far from its cluster's centre, which has length 1, a vector is
FAVORITES = 20  # one in so many


def fill(data: Path, count: int) -> float:
    """Make a library of `count` assets in the folder; the seconds it took."""
    started = time.perf_counter()
    asyncio.run(_made(data))
    embedder = WorkerEmbedder(threads=1, idle_s=1)
    with sqlite3.connect(data / "library.db") as connection:
        connection.execute("PRAGMA synchronous = OFF")
        counted = Counter[str]()
        dim = embedder.model.dim
        for row, text, vector, look in _assets(count, dim):
            connection.execute(
                "INSERT INTO assets (row, id, checksum, filename, mime, size_bytes, favorite, created_at, updated_at) "
                "VALUES (?, ?, ?, 'm.jpg', 'image/jpeg', 1, ?, ?, ?)",
                (row, f"c{row:024}", f"{row:064x}", row % FAVORITES == 0, row, row),
            )
            connection.execute(
                "INSERT INTO embeddings (asset, state, queued_at, due_at, model, dim, text, vector, completed_at, "
                "ready_order) VALUES (?, 'ready', 0, 0, ?, ?, ?, ?, 0, ?)",
                (row, embedder.model.name, dim, text, vector, row),
            )
            squeezed = squeeze(text)
            connection.execute("INSERT INTO texts (rowid, squeezed) VALUES (?, ?)", (row, squeezed))
            counted.update(trigrams([squeezed]))
            connection.execute("INSERT INTO looks (asset, look, kin) VALUES (?, ?, ?)", (row, look, row))
            connection.executemany("INSERT INTO look_bands VALUES (?, ?)", [(band, row) for band in bands(look)])
        connection.executemany("INSERT INTO trigrams VALUES (?, ?)", counted.items())
    connection.close()
    return time.perf_counter() - started


async def _made(data: Path) -> None:
    database = Database(data / "library.db")
    database.open()
    await database.close()


def _assets(count: int, dim: int) -> Iterator[tuple[int, str, bytes, bytes]]:
    rng, chance = random.Random(1), np.random.default_rng(1)
    words = [word for caption in captions.corpus() for word in caption.text.split()]
    centres = chance.normal(size=(300, dim)) / dim**0.5
    for row in range(1, count + 1):
        vector = centres[rng.randrange(300)] + CLUSTER * chance.normal(size=dim) / dim**0.5
        text = " ".join(rng.choice(words) for _ in range(rng.randint(4, 16)))
        look = rng.randbytes(LOOK_BITS // 8)
        yield row, text, (vector / np.linalg.norm(vector)).astype("<f4").tobytes(), look
