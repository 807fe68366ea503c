"""What an earlier version has written, this one can read. The files in data/ stay for ever."""

import contextlib
import shutil
import sqlite3
from pathlib import Path

import pytest
from storekit import URL, Store, digest, opened

from splootd.core.after import After
from splootd.core.item import Priority, State
from splootd.store import schema
from splootd.store.moves import Moves
from splootd.store.upkeep import read_through, read_through_s_ago

DATA = Path(__file__).parent / "data"

# id, path, state, priority, attempts, next_at, fault, asset id, duplicate, folder, tags, force
V1 = [
    (1, b"/memes/0.png", State.PENDING, 1, 0, None, None, None, False, None, (), False),
    (2, b"/memes/1.png", State.UPLOADING, 0, 0, None, None, None, False, None, (), False),
    (3, b"/memes/2.png", State.EMBEDDING, 0, 0, 0.0, None, "a3", False, None, (), False),
    (4, b"/memes/3.png", State.READY, 0, 0, None, None, "a4", False, None, (), False),
    (5, b"/memes/4.png", State.DEAD, 0, 1, None, "refused", None, False, None, (), False),
    (6, b"/memes/5.png", State.GONE, 0, 0, None, "vanished", None, False, None, (), False),
    (7, b"/memes/6.png", State.SKIPPED, 0, 0, None, "unsupported", None, False, None, (), False),
    (8, b"/memes/\xff\n.png", State.PENDING, 2, 0, 1_012.0, None, None, False, 1, ("from", "folder"), True),
    (9, b"/memes/retried", State.PENDING, 0, 1, 1_030.0, "server_fault", None, False, 1, ("from", "folder"), True),
    (10, b"/memes/duplicate", State.READY, 0, 0, None, None, "twin", True, 1, ("from", "folder"), True),
    (11, b"/memes/22.png", State.SKIPPED, 0, 0, None, "removed", "a11", False, None, (), False),
    (12, b"/memes/3.png", State.PENDING, 1, 0, None, None, None, False, None, (), False),
]


def copy_of(name: str, folder: Path) -> Path:
    return Path(shutil.copy(DATA / name, folder / "queue.db"))


def test_every_version_has_its_file() -> None:
    for number in schema.migrations():
        assert (DATA / f"v{number}.db").exists(), (
            "make one with rows in every table, as data/make_v1.py did for version 1"
        )
        connection = sqlite3.connect(f"file:{DATA}/v{number}.db?mode=ro&immutable=1", uri=True)
        assert connection.execute("PRAGMA user_version").fetchone() == (number,)
        connection.close()


async def test_all_files_become_the_newest_schema(tmp_path: Path) -> None:
    """As if they had been made by it."""

    async def described(path: Path) -> list[tuple[str, ...]]:
        async with opened(path) as store:
            return await store.rows("SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name")

    newest = await described(tmp_path / "new.db")
    for number in schema.migrations():
        assert await described(copy_of(f"v{number}.db", tmp_path)) == newest


@pytest.mark.parametrize("number", schema.migrations())
async def test_of_a_file_that_was_never_read_through_that_is_known(tmp_path: Path, number: int) -> None:
    file = copy_of(f"v{number}.db", tmp_path)
    with contextlib.closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("UPDATE settings SET value = 'yes' WHERE name = 'stopped_cleanly'")
    async with opened(file) as store:
        assert await read_through_s_ago(store.database, now=2_000.0) is None
        await read_through(store.database, now=2_000.0)
        assert await read_through_s_ago(store.database, now=2_060.0) == 60.0


async def test_version_1_is_read_whole(tmp_path: Path) -> None:
    async with opened(copy_of("v1.db", tmp_path)) as store:
        assert store.server == 1
        assert await store.rows("SELECT url FROM servers") == [(URL,)]
        items = await store.listing.items(limit=100)
        assert [
            (
                item.id, item.path, item.state, item.priority, item.attempts, item.next_at, item.fault, item.asset_id,
                item.duplicate, item.folder_id, item.tags, item.force,
            )
            for item in reversed(items)
        ] == V1  # fmt: skip
        assert [item.id for item in await store.listing.by_path(b"/memes/3.png")] == [12, 4]
        assert items[4].version.inode == 2**64 - 1
        assert [attempt.reason for attempt in await store.listing.attempts(9)] == ["500"]
        await _rest_of_version_1(store)
        await store.assert_sums_are_right()


async def _rest_of_version_1(store: Store) -> None:
    (folder,) = await store.arrivals.folders()
    assert (folder.path, folder.inode, folder.priority, folder.tags) == (
        b"/memes",
        2**64 - 2,
        Priority.BACKGROUND,
        ("from", "folder"),
    )
    assert (folder.added_at, folder.scanned_at, folder.last_new_at, folder.items) == (1_000.5, 1_001.5, 1_022.0, 3)
    (root,) = await store.arrivals.roots_left()
    assert (root.path, root.folder_id, root.add_id) == (b"/memes", 1, 1)
    assert (await store.arrivals.origin(1, None)).tags == ("ü", "t")
    assert (await store.listing.progress(1)).total == 3
    contents = [await store.ledger.content(digest(number)) for number in (3, 4, 11)]
    assert [content and (content.asset_id, content.ready, content.removed_at) for content in contents] == [
        ("a3", False, None),
        ("twin", True, None),
        ("a11", False, 1_024.0),
    ]
    assert await store.arrivals.reply("reply-key") == '{"answer": 42}'
    assert await store.listing.setting("paused") == "yes"
    assert await store.listing.newest_event() == len(await store.listing.events(since=0, limit=1_000)) > 12


async def test_version_1_goes_on_where_it_was(tmp_path: Path) -> None:
    async with opened(copy_of("v1.db", tmp_path), boot="boot2") as store:
        assert await store.queue.recover(now=2_000.0) == 1
        assert await store.queue.promote(now=2_000.0) == 2
        leased = await store.queue.claim_urgent(now=2_000.0)
        assert leased is not None
        assert leased.item.id == 2
        assert await store.accept(leased)
        await store.assert_sums_are_right()


async def test_version_2_knows_what_it_has_put_away(tmp_path: Path) -> None:
    async with opened(copy_of("v2.db", tmp_path)) as store:
        moves = Moves(store.database, server_id=store.server, bells=store.bells)
        assert [(move.item_id, move.state, move.is_trashed) for move in await moves.under_way()] == [
            (8, "returning", True),
            (10, "going", False),
            (11, "going", True),
        ]
        last = await moves.last()
        assert last is not None
        assert (last.source, last.target, last.note) == (b"/memes/21.png", b"/shelf \xff/9.png", None)
        wishes = await moves.wishes(beyond=0, limit=100)
        assert [(wish.item.id, wish.after.word) for wish in wishes] == [
            (10, b"move:/shelf \xff"),
            (11, b"trash"),
            (12, b"trash"),
            (14, b"trash"),
        ]
        (folder,) = await store.arrivals.folders()
        assert folder.after == After(b"/shelf \xff")
        assert (await store.arrivals.origin(1, None)).after == After(None)
        content = await store.ledger.content(digest(9))
        assert content is not None
        assert (content.seen_at, content.removed_at) == (1_020.0, 1_050.0)
        await store.assert_sums_are_right()


async def test_version_3_knows_where_uploads_go_on(tmp_path: Path) -> None:
    async with opened(copy_of("v3.db", tmp_path)) as store:
        paths = [await store.ledger.upload(digest(number)) for number in (20, 21, 22)]
        assert paths == ["/api/upload/resumable/20", "/api/upload/resumable/anew", None]
        await store.assert_sums_are_right()


async def test_version_4_has_the_groups_that_were_written(tmp_path: Path) -> None:
    async with opened(copy_of("v4.db", tmp_path), boot="boot2") as store:
        counts = (await store.listing.counts()).by_state
        assert counts == {**dict.fromkeys(State, 1), State.PENDING: 31, State.UPLOADING: 3, State.EMBEDDING: 9}
        await store.assert_sums_are_right()


async def test_version_5_goes_on_counting_upheavals(tmp_path: Path) -> None:
    async with opened(copy_of("v5.db", tmp_path)) as store:
        assert await store.arrivals.upheavals() == 3
        (dead, *_) = await store.listing.items(state=State.DEAD, limit=1)
        await store.queue.revive(ids=[dead.id], now=2_000.0)
        assert await store.arrivals.upheavals() == 4
        await store.assert_sums_are_right()


async def test_version_6_lists_each_state_in_order(tmp_path: Path) -> None:
    """One index holds all states and, within each, one class after another."""
    async with opened(copy_of("v6.db", tmp_path)) as store:
        for state in State:
            items = await store.listing.items(state=state, limit=100)
            assert [item.priority for item in items] == [Priority.BACKGROUND, Priority.URGENT, Priority.NORMAL]
            assert [item.id for item in items] == sorted((item.id for item in items), reverse=True)
        await store.assert_sums_are_right()
