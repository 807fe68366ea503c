"""How v1.db was made: `PYTHONPATH=tests python tests/store/data/make_v1.py`, while version 1 was the newest.

It is never made again. Another version of the schema gets a file, and a script, of its own.
"""

import asyncio
import sqlite3
import tempfile
from pathlib import Path

from storekit import Store, digest, opened, origin, version

from splootd.core.fault import Fault
from splootd.core.item import Priority, State, Version

HERE = Path(__file__).parent


async def fill(store: Store) -> None:
    folder = await store.arrivals.watch(
        b"/memes", device=1, inode=2**64 - 2, priority=Priority.BACKGROUND, tags=["from", "folder"], now=1_000.5
    )
    await store.arrivals.looked(folder.id, now=1_001.5)
    add, _ = await store.arrivals.start_add(
        "add-key",
        priority=Priority.NORMAL,
        tags=("\u00fc", "t"),
        force=False,
        paths=[b"/memes", b"/walked"],
        now=1_002.0,
    )
    await store.arrivals.root_done((await store.arrivals.roots_left())[1].id, now=1_003.0)
    for number, state in enumerate(State):
        await store.new_in(state, number)

    as_ = origin(Priority.BACKGROUND, folder_id=folder.id, add_id=add, tags=("from", "folder"), force=True)
    odd = Version(size=2**40, mtime_ns=-1, device=5, inode=2**64 - 1)
    await store.put(b"/memes/\xff\n.png", odd, as_, now=1_010.0, settles_at=1_012.0)
    retried = await store.claim((await store.put(b"/memes/retried", version(20), as_, now=1_020.0)).item_id)
    await store.queue.retry(retried, fault=Fault.SERVER_FAULT, reason="500", next_at=1_030.0, now=1_021.0)
    duplicate = await store.claim((await store.put(b"/memes/duplicate", version(21), as_, now=1_022.0)).item_id)
    await store.queue.accept(duplicate, asset_id="twin", sha256=digest(4), duplicate=True, embedded=True, now=1_023.0)
    removed = await store.new_in(State.EMBEDDING, 22)
    await store.queue.removed(removed, reason="removed there", now=1_024.0)
    await store.put(b"/memes/3.png", version(23), now=1_025.0)  # another version of the one that is ready
    await store.arrivals.remember("reply-key", '{"answer": 42}', now=1_026.0)
    await store.listing.set_setting("paused", "yes", now=1_027.0)


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with opened(Path(folder) / "queue.db") as store:
            await fill(store)
            await store.database.backup(HERE / "v1.db")
    connection = sqlite3.connect(HERE / "v1.db")
    connection.execute("PRAGMA page_size = 512")  # each of its many tables and indexes takes a page at least
    connection.execute("VACUUM")
    connection.close()


if __name__ == "__main__":
    asyncio.run(main())
