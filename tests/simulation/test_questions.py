"""Ten minutes with ten thousand embeddings outstanding: what the server is asked, and how often."""

import asyncio
import hashlib
import sqlite3

import pytest
from real_sploot import Asset
from simulated import EPOCH
from world import World, simulate

from splootd.core.item import State

OUTSTANDING = 10_000
MINUTES = 10


async def outstanding(world: World) -> None:
    """The server has this many assets, and the daemon waits for all of them."""
    sums = [hashlib.sha256(str(number).encode()) for number in range(OUTSTANDING)]
    for number, each in enumerate(sums):
        world.sploot.assets[each.hexdigest()] = Asset(f"c{number}", each.hexdigest(), EPOCH)

    def insert(connection: sqlite3.Connection) -> None:
        connection.executemany(
            """INSERT INTO items (server_id, path, size, mtime_ns, device, inode, priority, shard, added_at, updated_at,
            tags, force, sha256, asset_id) SELECT id, ?, 1, 1, 1, 1, 1, ?, 1, 1, '[]', 0, ?, ? FROM servers""",
            [(b"/memes/%d" % number, number % 16, each.digest(), f"c{number}") for number, each in enumerate(sums)],
        )
        connection.execute("UPDATE items SET state = 'uploading', lease = 'b:' || id")
        connection.execute(
            "UPDATE items SET state = 'embedding', lease = NULL, accepted_at = ?, next_at = ?", (EPOCH, EPOCH)
        )

    await world.life.database.write(insert)
    world.life.bells.embedding.ring()


@pytest.mark.parametrize("embed_s", [1e9, 0.0], ids=["none is made", "all are made"])
def test_ten_thousand_outstanding_cost_less_than_one_question_a_second_and_are_found_out(embed_s: float) -> None:
    async def story(world: World) -> tuple[int, int]:
        await world.start()
        world.start_server(embed_s=embed_s)
        await outstanding(world)
        await asyncio.sleep(MINUTES * 60)
        asked, left = len(world.life.asked_at), (await world.life.listing.counts()).by_state[State.EMBEDDING]
        await world.stop()  # which looks for bursts
        return asked, left

    asked, left = simulate(story)
    assert MINUTES < asked <= MINUTES * 60 / 2 + 1
    assert left == (OUTSTANDING if embed_s else 0)
