"""How v3.db was made: `PYTHONPATH=tests python tests/store/data/make_v3.py`, while version 3 was the newest.

It is never made again. What version 3 has brought is in it: uploads that were begun and not finished.
"""

import asyncio
import sqlite3
import tempfile
from pathlib import Path

from storekit import Store, digest, opened

from splootd.core.item import State

HERE = Path(__file__).parent


async def fill(store: Store) -> None:
    for number, state in enumerate(State):
        await store.new_in(state, number)
    for number in (20, 21, 22):
        await store.ledger.upload_begun(digest(number), f"/api/upload/resumable/{number}", now=1_000.0 + number)
    await store.ledger.upload_begun(digest(21), "/api/upload/resumable/anew", now=1_050.0)
    await store.ledger.upload_ended(digest(22))


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with opened(Path(folder) / "queue.db") as store:
            await fill(store)
            await store.database.backup(HERE / "v3.db")
    connection = sqlite3.connect(HERE / "v3.db")
    connection.execute("PRAGMA page_size = 512")  # each of its many tables and indexes takes a page at least
    connection.execute("VACUUM")
    connection.close()


if __name__ == "__main__":
    asyncio.run(main())
