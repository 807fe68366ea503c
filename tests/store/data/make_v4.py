"""How v4.db was made: `PYTHONPATH=tests python tests/store/data/make_v4.py`, while version 4 was the newest.

It is never made again. Version 4 has brought nothing that a row could show; its rows were written in groups.
"""

import asyncio
import sqlite3
import tempfile
from pathlib import Path

from storekit import Store, opened, origin, version

from splootd.core.item import SHARDS, State
from splootd.store.arrivals import Candidate

HERE = Path(__file__).parent
GROUP = 40


async def fill(store: Store) -> None:
    for number, state in enumerate(State):
        await store.new_in(state, number)
    found = [Candidate(b"/memes/group/%d.png" % number, version(100 + number), None) for number in range(GROUP)]
    await store.arrivals.offer(found, origin(), still_there=lambda path, of: True, now=1_000.0)
    for shard in range(SHARDS // 2):
        leased = await store.queue.claim_group(shard, limit=GROUP, now=1_001.0, chance=0.0)
        await store.queue.accept_group([store.accepted(each) for each in leased[1:]], now=1_002.0)


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with opened(Path(folder) / "queue.db") as store:
            await fill(store)
            await store.database.backup(HERE / "v4.db")
    connection = sqlite3.connect(HERE / "v4.db")
    connection.execute("PRAGMA page_size = 512")  # each of its many tables and indexes takes a page at least
    connection.execute("VACUUM")
    connection.close()


if __name__ == "__main__":
    asyncio.run(main())
