"""How v5.db was made: `PYTHONPATH=tests python tests/store/data/make_v5.py`, while version 5 was the newest.

It is never made again. What version 5 has brought is in it: upheavals, counted where an ended item was unsettled.
"""

import asyncio
import sqlite3
import tempfile
from pathlib import Path

from storekit import Store, opened

from splootd.core.item import State

HERE = Path(__file__).parent


async def fill(store: Store) -> None:
    for number, state in enumerate(State, 10):
        await store.new_in(state, number)
    dead = [await store.new_in(State.DEAD, number) for number in range(3)]
    await store.queue.revive(ids=dead, now=1_000.0)


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with opened(Path(folder) / "queue.db") as store:
            await fill(store)
            await store.database.backup(HERE / "v5.db")
    connection = sqlite3.connect(HERE / "v5.db")
    connection.execute("PRAGMA page_size = 512")  # each of its many tables and indexes takes a page at least
    connection.execute("VACUUM")
    connection.close()


if __name__ == "__main__":
    asyncio.run(main())
