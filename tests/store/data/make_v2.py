"""How v2.db was made: `PYTHONPATH=tests python tests/store/data/make_v2.py`, while version 2 was the newest.

It is never made again. What version 2 has brought is in it: wishes, the journal of moves, and what the server has said.
"""

import asyncio
import sqlite3
import tempfile
from pathlib import Path

from storekit import Store, opened, version

from splootd.core.after import After
from splootd.core.item import Priority, State
from splootd.store.arrivals import Origin
from splootd.store.moves import Moves, Whereabouts

HERE = Path(__file__).parent
TRASH = After(None)
SHELF = After(b"/shelf \xff")


async def fill(store: Store) -> None:
    moves = Moves(store.database, server_id=store.server, bells=store.bells)
    folder = await store.arrivals.watch(
        b"/memes", device=1, inode=2, priority=Priority.NORMAL, tags=("t",), after=SHELF, now=1_000.0
    )
    add, _ = await store.arrivals.start_add(
        "add-key", priority=Priority.NORMAL, tags=(), force=False, after=TRASH, paths=[b"/walked"], now=1_001.0
    )
    for number, state in enumerate(State):
        await store.new_in(state, number)
    for number, after in ((20, TRASH), (21, SHELF), (22, SHELF), (23, TRASH), (24, TRASH), (25, TRASH), (26, TRASH)):
        as_ = Origin(add, folder.id, Priority.NORMAL, ("t",), force=False, after=after)
        arrival = await store.put(b"/memes/%d.png" % number, version(number), as_, now=1_010.0)
        assert await store.accept(await store.claim(arrival.item_id), embedded=True, now=1_020.0)
    ends = [Whereabouts.THERE, Whereabouts.THERE, None, None, Whereabouts.BACK, Whereabouts.LOST]
    for wish, end in zip(await moves.wishes(beyond=0, limit=6), ends, strict=True):
        name = b"%d.png" % wish.item.id
        note = b"/trash/info/" + name if wish.after.folder is None else None
        target = (wish.after.folder or b"/trash/files") + b"/" + name
        move = await moves.begin(wish.item, target=target, is_trashed=wish.after.folder is None, note=note, now=1_030.0)
        assert move is not None
        if end is not None:
            await moves.end(move, end, now=1_031.0)
    trashed = await moves.of_item(8)
    assert trashed is not None
    await moves.begin_return(trashed, source=b"/memes/20 (2).png", now=1_040.0)
    await store.ledger.removed("a9", now=1_050.0)
    await store.arrivals.remember("reply-key", '{"answer": 42}', now=1_051.0)
    await store.listing.set_setting("paused", "", now=1_052.0)


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with opened(Path(folder) / "queue.db") as store:
            await fill(store)
            await store.database.backup(HERE / "v2.db")
    connection = sqlite3.connect(HERE / "v2.db")
    connection.execute("PRAGMA page_size = 512")  # each of its many tables and indexes takes a page at least
    connection.execute("VACUUM")
    connection.close()


if __name__ == "__main__":
    asyncio.run(main())
