"""How v6.db was made: `PYTHONPATH=tests python tests/store/data/make_v6.py`, while version 6 was the newest.

It is never made again. What version 6 has brought is in it: items of every state and priority, led there by its laws.
"""

import asyncio
import itertools
import sqlite3
import tempfile
from pathlib import Path

from storekit import Store, opened, origin, version

from splootd.core.item import Priority, State

HERE = Path(__file__).parent
STATES = [*(state for state in State if state is not State.PENDING), State.PENDING]  # so that only one can be claimed
PRIORITIES = [Priority.NORMAL, Priority.URGENT, Priority.BACKGROUND]


async def fill(store: Store) -> None:
    for number, (state, priority) in enumerate(itertools.product(STATES, PRIORITIES)):
        arrival = await store.put(b"/memes/%d.png" % number, version(number), origin(priority))
        if state is not State.PENDING:
            shard = (await store.item(arrival.item_id)).shard
            (leased,) = await store.queue.claim_group(shard, limit=1, now=1.0, chance=0.0)
            await store.lead(leased, state)


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with opened(Path(folder) / "queue.db") as store:
            await fill(store)
            await store.database.backup(HERE / "v6.db")
    connection = sqlite3.connect(HERE / "v6.db")
    connection.execute("PRAGMA page_size = 512")  # each of its many tables and indexes takes a page at least
    connection.execute("VACUUM")
    connection.close()


if __name__ == "__main__":
    asyncio.run(main())
