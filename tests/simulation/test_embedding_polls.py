"""Four minutes with ten thousand pending embeddings: the number of polls."""

import asyncio
import hashlib
import sqlite3

import pytest
from real_sploot import Asset
from simulated import EPOCH
from simulated_machine import World, simulate

from splootd.core.item import State

OUTSTANDING = 10_000
MINUTES = 4


async def outstanding(world: World) -> None:
    """Create the assets on the server, and the pending embeddings of the daemon."""
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

    await world.instance.database.write(insert)
    world.instance.wake_signals.embedding.notify()


@pytest.mark.parametrize("embed_s", [1e9, 0.0], ids=["none is ready", "all are ready"])
def test_ten_thousand_pending_embeddings_take_less_than_one_poll_per_second(embed_s: float) -> None:
    async def story(world: World) -> tuple[int, int]:
        await world.start()
        world.start_server(embed_s=embed_s)
        await outstanding(world)
        await asyncio.sleep(MINUTES * 60)
        polls, remaining = (
            len(world.instance.polled_at),
            (await world.instance.read_queries.counts()).by_state[State.EMBEDDING],
        )
        await world.stop()  # it checks for bursts
        return polls, remaining

    polls, remaining = simulate(story)
    assert MINUTES < polls <= MINUTES * 60 / 2 + 1
    assert remaining == (OUTSTANDING if embed_s else 0)
