"""Fill a library with many synthetic assets: texts of real words, vectors clustered like real ones."""

import asyncio
import random
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import captions
from sploot_server.domain.near_duplicates import COLOURS_SIDE, DHASH_BITS, Look, bands
from sploot_server.domain.text_match import normalize, trigrams
from sploot_server.inference.worker_pool import WorkerEmbedder
from sploot_server.storage.sqlite.database import Database

CLUSTER = 1.2  # distance of a vector from the centre of its cluster, which has length 1
FAVORITES = 20  # one in this many
COLOURS_BYTES = 3 * COLOURS_SIDE**2


def fill(data: Path, count: int, owners: Sequence[str] = ("",)) -> float:
    """Create a library of `count` assets in the folder, whose owners take turns; return the seconds."""
    started = time.perf_counter()
    asyncio.run(_made(data))
    embedder = WorkerEmbedder(threads=1, idle_s=1)
    with sqlite3.connect(data / "library.db") as connection:
        connection.execute("PRAGMA synchronous = OFF")
        counted = Counter[str]()
        dim = embedder.model.dim
        for row, vector, look in _assets(count, dim):
            connection.execute(
                "INSERT INTO assets "
                "(row, id, owner, checksum, filename, mime, size_bytes, favorite, created_at, updated_at) "
                "VALUES (?, ?, ?, ?, 'm.jpg', 'image/jpeg', 1, ?, ?, ?)",
                (row, asset_id(row), owners[row % len(owners)], f"{row:064x}", row % FAVORITES == 0, row, row),
            )
            connection.execute(
                "INSERT INTO embeddings (asset, state, queued_at, due_at, model, dim, text, text_vector, "
                "completed_at, ready_seq) VALUES (?, 'ready', 0, 0, ?, ?, ?, ?, 0, ?)",
                (row, embedder.model.name, dim, look.text, vector, row),
            )
            normalized = normalize(look.text)
            connection.execute("INSERT INTO search_texts (rowid, normalized) VALUES (?, ?)", (row, normalized))
            counted.update(trigrams([normalized]))
            connection.execute(
                "INSERT INTO image_hashes (asset, dhash, colours, aspect_ratio, duplicate_group) "
                "VALUES (?, ?, ?, ?, ?)",
                (row, look.dhash, look.colours, look.aspect_ratio, row),
            )
            connection.executemany("INSERT INTO dhash_bands VALUES (?, ?)", [(band, row) for band in bands(look)])
        connection.executemany("INSERT INTO trigram_counts VALUES (?, ?)", counted.items())
    connection.close()
    return time.perf_counter() - started


def asset_id(row: int) -> str:
    return f"c{row:024}"


async def _made(data: Path) -> None:
    database = Database(data / "library.db")
    database.open()
    await database.close()


def _assets(count: int, dim: int) -> Iterator[tuple[int, bytes, Look]]:
    rng, chance = random.Random(1), np.random.default_rng(1)
    words = [word for caption in captions.corpus() for word in caption.text.split()]
    centres = chance.normal(size=(300, dim)) / dim**0.5
    for row in range(1, count + 1):
        vector = centres[rng.randrange(300)] + CLUSTER * chance.normal(size=dim) / dim**0.5
        text = " ".join(rng.choice(words) for _ in range(rng.randint(4, 16)))
        look = Look(rng.randbytes(DHASH_BITS // 8), rng.randbytes(COLOURS_BYTES), 1.0, text)
        yield row, (vector / np.linalg.norm(vector)).astype("<f4").tobytes(), look
