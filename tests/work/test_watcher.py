"""Watching real folders. Each loss that the system's watch was seen to have is mended, and has its test here."""

# ruff: noqa: ASYNC240 - a test may touch the disk on the loop
import asyncio
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from storekit import Store
from watchkit import LIMIT_S, LONG_AGO_S, PNG, Post, manned, put, until

from splootd.clock import BEAT_S, Clock
from splootd.config import Config
from splootd.core.item import Priority, State
from splootd.errors import StoreFull
from splootd.protocol import Add
from splootd.work.intake import Intake
from splootd.work.kernel import watched_inodes
from splootd.work.patrol import Rhythm, Watch, WatchRefused
from splootd.work.walk import Tree
from splootd.work.watcher import NotifyWatch, Watcher

Told = Callable[[set[bytes]], None]
Died = Callable[[str], None]
CALM = Rhythm(settle_s=0.05)  # looks and checks too far apart for a test to see


async def test_what_is_there_and_what_comes_is_queued(post: Post, memes: Path) -> None:
    put(memes / "old.png")
    await post.watch(memes)
    put(memes / "new.png", at=None)
    await post.until_named(memes / "old.png", memes / "new.png")


async def test_an_event_is_enough(store: Store, memes: Path) -> None:
    async with manned(store, rhythm=CALM) as post:
        await post.watch(memes)
        put(memes / "new.png", at=None)
        await post.until_named(memes / "new.png")


async def test_a_download_renamed_into_place_is_new(store: Store, memes: Path) -> None:
    async with manned(store, rhythm=CALM) as post:
        await post.watch(memes)
        put(memes / "x.png.crdownload", at=None)
        (memes / "x.png.crdownload").rename(memes / "x.png")
        await post.until_named(memes / "x.png")


async def test_a_file_that_goes_on_growing_makes_one_row(store: Store, memes: Path) -> None:
    async with manned(store, rhythm=replace(CALM, settle_s=0.5)) as post:
        await post.watch(memes)
        heard = post.store.bells.news
        with (memes / "slow.png").open("wb") as stream:
            for _ in range(20):
                stream.write(PNG)
                stream.flush()
                await heard.wait(heard.ticket(), 0.02)
        await post.until_named(memes / "slow.png")
        (item,) = await post.items()
        assert item.version.size == 20 * len(PNG)
        assert await post.rows() == 1


async def test_new_content_under_an_old_name_is_a_new_version(post: Post, memes: Path) -> None:
    put(memes / "a.png")
    await post.watch(memes)
    put(memes / "a.png", PNG + b"more", at=LONG_AGO_S + 5)
    async with asyncio.timeout(LIMIT_S):
        while True:
            ticket = post.store.bells.news.ticket()
            (item, *_) = await post.store.listing.by_path(os.fsencode(memes / "a.png"))
            if item.version.size == len(PNG) + 4:
                break
            await post.store.bells.news.wait(ticket, LIMIT_S)


async def test_files_in_folders_made_at_once_are_all_found(post: Post, memes: Path) -> None:
    await post.watch(memes)
    wanted = []
    for number in range(50):
        folder = memes / f"n{number}" / "m"
        folder.mkdir(parents=True)
        put(folder / "x.png", at=None)
        wanted.append(folder / "x.png")
    await post.until_named(*wanted)


async def test_what_is_in_a_folder_that_is_moved_in_is_found(store: Store, memes: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside" / "deep"
    outside.mkdir(parents=True)
    put(outside / "x.png")
    async with manned(store, rhythm=CALM) as post:
        await post.watch(memes)
        outside.parent.rename(memes / "inside")
        await post.until_named(memes / "inside" / "deep" / "x.png")
        put(memes / "inside" / "deep" / "later.png")
        await post.until_named(memes / "inside" / "deep" / "x.png", memes / "inside" / "deep" / "later.png")


async def test_five_thousand_files_dropped_at_once_are_all_found(post: Post, memes: Path) -> None:
    await post.watch(memes)

    def drop() -> None:
        for number in range(5_000):
            put(memes / f"{number}.png", at=None)

    await asyncio.to_thread(drop)
    await post.until_count(5_000)
    assert await post.rows() == 5_000


class Forgetful(NotifyWatch):
    """Tells of one path and loses the rest, as the kernel does when its queue runs over."""

    def __init__(self, tree: Tree, *, recursive: bool, told: Told, died: Died) -> None:
        super().__init__(tree, recursive=recursive, told=lambda paths: told({min(paths)}), died=died)


async def test_what_an_overflow_lost_is_found_without_waiting_for_a_full_look(store: Store, memes: Path) -> None:
    async with manned(store, open_watch=Forgetful) as post:
        await post.watch(memes)
        wanted = [memes / f"{number}.png" for number in range(100)]
        for path in wanted:
            put(path)
        await post.until_named(*wanted)


async def test_a_folder_that_an_overflow_hid_is_found_and_watched(store: Store, memes: Path) -> None:
    async with manned(store, open_watch=Forgetful) as post:
        await post.watch(memes)
        (memes / "z").mkdir()
        put(memes / "z" / "hidden.png")
        put(memes / "a.png")
        await post.until_named(memes / "a.png", memes / "z" / "hidden.png")


async def test_a_flood_is_followed_by_another_look(store: Store, memes: Path) -> None:
    """A thousand paths at once may be what was left of more."""

    class Flooded(NotifyWatch):
        def __init__(self, tree: Tree, *, recursive: bool, told: Told, died: Died) -> None:
            lost = {b"%s/lost%d" % (tree.root, number) for number in range(1_000)}
            super().__init__(tree, recursive=recursive, told=lambda _: told(lost), died=died)

    async with manned(store, rhythm=replace(CALM, again_s=0.05), open_watch=Flooded) as post:
        await post.watch(memes)
        put(memes / "x.png")
        await post.until_named(memes / "x.png")


async def test_more_events_than_can_be_noted_end_in_a_full_look(store: Store, memes: Path) -> None:
    class Overwhelming(NotifyWatch):
        def __init__(self, tree: Tree, *, recursive: bool, told: Told, died: Died) -> None:
            lost = {b"%s/lost%d" % (tree.root, number) for number in range(20_001)}
            super().__init__(tree, recursive=recursive, told=lambda _: told(lost), died=died)

    async with manned(store, rhythm=replace(CALM, again_s=0.05), open_watch=Overwhelming) as post:
        await post.watch(memes)
        put(memes / "x.png")
        await post.until_named(memes / "x.png")


async def test_a_name_that_is_not_utf8_is_queued_and_does_not_end_the_watching(post: Post, memes: Path) -> None:
    folder = await post.watch(memes)
    odd, odder = os.fsencode(memes) + b"/caf\xe9.png", os.fsencode(memes) + b"/\xff.png"
    put(odd)
    await post.until_named(odd)
    put(odder)
    detail = await post.until_state(folder, "polling")
    assert detail is not None
    assert detail.startswith(
        "a file in it has a name that is not UTF-8, which cannot be watched; it is looked at every"
    )
    put(memes / "plain.png")
    await post.until_named(odd, odder, memes / "plain.png")


async def test_a_folder_whose_own_name_is_not_utf8_is_polled(post: Post, tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    folder.mkdir()
    watched = await post.watch(folder)
    assert post.watcher.health(watched.id)[0] == "polling"
    put(folder / "x.png")
    await post.until_named(folder / "x.png")


class Narrow(NotifyWatch):
    """Watches only the outermost folder, as when the system allows no more watches."""

    def __init__(self, tree: Tree, *, recursive: bool, told: Told, died: Died) -> None:
        outermost = {tree.root: tree.folders[tree.root]}
        super().__init__(replace(tree, folders=outermost), recursive=False, told=told, died=died)


async def test_what_cannot_be_watched_is_polled_and_the_remedy_is_told(store: Store, memes: Path) -> None:
    (memes / "sub").mkdir()
    async with manned(store, open_watch=Narrow) as post:
        folder = await post.watch(memes)
        detail = await post.until_state(folder, "polling")
        assert detail is not None
        assert detail.startswith("1 of 2 folders cannot be watched")
        assert "sudo sysctl fs.inotify.max_user_watches=" in detail
        put(memes / "sub" / "x.png")
        await post.until_named(memes / "sub" / "x.png")


async def test_a_limit_that_is_reached_later_is_noticed(store: Store, memes: Path) -> None:
    async with manned(store, open_watch=Narrow) as post:
        folder = await post.watch(memes)
        assert post.watcher.health(folder.id) == ("watching", None)
        (memes / "sub").mkdir()
        await post.until_state(folder, "polling")
        put(memes / "sub" / "x.png")
        await post.until_named(memes / "sub" / "x.png")


def refusing(tree: Tree, *, recursive: bool, told: Told, died: Died) -> Watch:
    raise WatchRefused("the system does not want to")


async def test_a_folder_that_cannot_be_watched_at_all_is_polled(store: Store, memes: Path) -> None:
    (memes / "sub").mkdir()
    async with manned(store, open_watch=refusing) as post:
        folder = await post.watch(memes)
        assert post.watcher.health(folder.id) == (
            "polling",
            "the system does not want to; it is looked at every 0.1 s instead",
        )
        put(memes / "sub" / "x.png")
        await post.until_named(memes / "sub" / "x.png")


async def test_a_watch_that_dies_is_opened_again(store: Store, memes: Path) -> None:
    deaths: list[Died] = []

    class Mortal(NotifyWatch):
        def __init__(self, tree: Tree, *, recursive: bool, told: Told, died: Died) -> None:
            deaths.append(died)
            super().__init__(tree, recursive=recursive, told=told, died=died)

    async with manned(store, rhythm=CALM, open_watch=Mortal) as post:
        folder = await post.watch(memes)
        deaths[0]("it choked")
        await until(post.watcher.news, lambda: len(deaths) == 2)
        put(memes / "x.png")
        await post.until_named(memes / "x.png")
        assert post.watcher.health(folder.id) == ("watching", None)


async def test_a_missing_root_is_missing_and_not_emptied(post: Post, memes: Path, tmp_path: Path) -> None:
    put(memes / "a.png")
    folder = await post.watch(memes)
    memes.rename(tmp_path / "away")
    detail = await post.until_state(folder, "missing")
    assert detail is not None
    assert "is not there" in detail
    assert {item.state for item in await post.items()} == {State.PENDING}
    put(tmp_path / "away" / "b.png")
    (tmp_path / "away").rename(memes)
    await post.until_named(memes / "a.png", memes / "b.png")
    await post.until_state(folder, "watching")
    assert await post.rows() == 2


async def test_a_root_that_was_deleted_and_made_again_is_watched_again(post: Post, memes: Path) -> None:
    folder = await post.watch(memes)
    shutil.rmtree(memes)
    await post.until_state(folder, "missing")
    memes.mkdir()
    put(memes / "a.png")
    await post.until_named(memes / "a.png")
    await post.until_state(folder, "watching")
    put(memes / "b.png")
    await post.until_named(memes / "a.png", memes / "b.png")
    assert (await post.folder(memes)).inode == memes.stat().st_ino


async def test_the_loss_of_a_root_is_noticed_at_once(store: Store, memes: Path) -> None:
    async with manned(store, rhythm=replace(CALM, again_s=0.05)) as post:
        folder = await post.watch(memes)
        memes.rmdir()
        await post.until_state(folder, "missing")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
async def test_a_root_that_may_not_be_read_any_more_is_unreadable(post: Post, memes: Path) -> None:
    folder = await post.watch(memes)
    memes.chmod(0)
    await post.until_state(folder, "unreadable")
    memes.chmod(0o700)
    put(memes / "x.png")
    await post.until_named(memes / "x.png")


async def test_a_root_that_was_swapped_for_another_is_looked_at_anew(post: Post, memes: Path, tmp_path: Path) -> None:
    await post.watch(memes)
    other = tmp_path / "other"
    other.mkdir()
    put(other / "x.png")
    memes.rename(tmp_path / "away")
    other.rename(memes)
    await post.until_named(memes / "x.png")


async def test_an_empty_folder_of_another_disk_is_a_missing_disk(store: Store, memes: Path) -> None:
    here = memes.stat()
    folder = await store.arrivals.watch(
        os.fsencode(memes), device=here.st_dev + 1, inode=1, priority=Priority.NORMAL, tags=(), now=0
    )
    async with manned(store) as post:
        detail = await post.until_state(folder, "missing")
        assert detail is not None
        assert "is the disk of" in detail
        put(memes / "x.png")
        await post.until_named(memes / "x.png")
        assert (await post.folder(memes)).device == here.st_dev


async def test_an_empty_folder_whose_disk_has_a_new_number_is_watched(store: Store, memes: Path) -> None:
    here = memes.stat()
    await store.arrivals.watch(
        os.fsencode(memes), device=here.st_dev + 1, inode=here.st_ino, priority=Priority.NORMAL, tags=(), now=0
    )
    async with manned(store) as post:
        put(memes / "x.png")
        await post.until_named(memes / "x.png")
        assert (await post.folder(memes)).device == here.st_dev


async def test_a_folder_that_is_missing_at_the_start_is_watched_when_it_comes(store: Store, tmp_path: Path) -> None:
    memes = tmp_path / "later"
    folder = await store.arrivals.watch(os.fsencode(memes), device=1, inode=1, priority=Priority.NORMAL, tags=(), now=0)
    async with manned(store) as post:
        await post.until_state(folder, "missing")
        memes.mkdir()
        put(memes / "x.png")
        await post.until_named(memes / "x.png")


async def test_links_out_of_the_folder_are_not_followed(store: Store, memes: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    put(outside / "before.png")
    (memes / "link").symlink_to(outside)
    (memes / "circle").symlink_to(memes)
    (memes / "file.png").symlink_to(outside / "before.png")
    async with manned(store) as post:
        folder = await post.watch(memes)
        assert post.watcher.health(folder.id) == ("watching", None)
        put(outside / "after.png")
        (memes / "sub").mkdir()
        put(memes / "sub" / "x.png")
        await post.until_named(memes / "sub" / "x.png")
        put(memes / "sub" / "y.png")
        await post.until_named(memes / "sub" / "x.png", memes / "sub" / "y.png")
        inodes = watched_inodes()
        assert inodes is None or outside.stat().st_ino not in inodes


async def test_a_folder_watched_inside_another_has_its_files_to_itself(post: Post, memes: Path) -> None:
    inner = memes / "inner"
    inner.mkdir()
    await post.add(memes)
    await post.add(inner, tags=("inner",))
    outer_row, inner_row = await post.folder(memes), await post.folder(inner)
    await post.until_state(outer_row, "watching")
    await post.until_state(inner_row, "watching")
    put(memes / "a.png")
    put(inner / "b.png")
    await post.until_named(memes / "a.png", inner / "b.png")
    folders = {item.path: item.folder_id for item in await post.items()}
    assert folders == {os.fsencode(memes / "a.png"): outer_row.id, os.fsencode(inner / "b.png"): inner_row.id}
    assert await post.rows() == 2


def fill(folder: Path, count: int) -> None:
    folder.mkdir()
    for number in range(count):
        put(folder / f"{number}.png", PNG + b"%d" % number)


async def test_a_renamed_folder_makes_no_new_row(post: Post, memes: Path) -> None:
    fill(memes / "before", 1_000)
    await post.watch(memes)
    assert await post.rows() == 1_000
    (memes / "before").rename(memes / "after")
    await post.until_named(*(memes / "after" / f"{number}.png" for number in range(1_000)))
    assert await post.rows() == 1_000


async def test_a_folder_renamed_while_nobody_watched_makes_no_new_row(store: Store, memes: Path) -> None:
    fill(memes / "before", 1_000)
    async with manned(store) as post:
        await post.watch(memes)
    (memes / "before").rename(memes / "after")
    async with manned(store) as post:
        await post.until_named(*(memes / "after" / f"{number}.png" for number in range(1_000)))
        assert await post.rows() == 1_000


async def test_what_came_while_nobody_watched_is_found(store: Store, memes: Path) -> None:
    async with manned(store) as post:
        await post.watch(memes)
    put(memes / "x.png")
    async with manned(store) as post:
        await post.until_named(memes / "x.png")


async def test_new_rules_take_effect(store: Store, memes: Path) -> None:
    (memes / ".splootignore").write_text("*\n")
    put(memes / "a.png")
    async with manned(store, rhythm=replace(CALM, again_s=0.05)) as post:
        await post.watch(memes)
        assert await post.rows() == 0
        (memes / ".splootignore").write_text("b.png\n")
        await post.until_named(memes / "a.png")
        put(memes / "b.png")
        put(memes / "c.png")
        await post.until_named(memes / "a.png", memes / "c.png")


async def test_what_is_hidden_or_ignored_is_never_offered(post: Post, memes: Path) -> None:
    (memes / ".splootignore").write_text("private/\n")
    await post.watch(memes)
    for folder in (".hidden", "private", "x.download"):
        (memes / folder).mkdir()
        put(memes / folder / "no.png")
    put(memes / ".no.png")
    put(memes / "note.txt", b"no image")
    put(memes / "no-suffix")
    await post.until_named(memes / "no-suffix")


async def test_a_folder_is_left_when_it_is_not_to_be_watched_any_more(post: Post, memes: Path, tmp_path: Path) -> None:
    put(memes / "a.png")
    folder = await post.watch(memes)
    await post.store.arrivals.unwatch(folder.path)
    post.watcher.unwatch(folder.path)
    await until(post.watcher.news, lambda: post.watcher.health(folder.id)[0] == "scanning")
    put(memes / "b.png")
    other = tmp_path / "other"
    other.mkdir()
    put(other / "c.png")
    await post.watch(other)
    await post.until_named(memes / "a.png", other / "c.png")


async def test_a_store_in_trouble_costs_time_and_no_file(
    store: Store, memes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with manned(store) as post:
        await post.watch(memes)
        offer, refusals = store.arrivals.offer, iter([True, True])

        async def offer_in_trouble(*args: object, **options: object) -> object:
            if next(refusals, False):
                raise StoreFull("the disk is full")
            return await offer(*args, **options)  # type: ignore[arg-type]  # passed on as they came

        monkeypatch.setattr(store.arrivals, "offer", offer_in_trouble)
        put(memes / "x.png")
        await post.until_named(memes / "x.png")


async def test_nothing_wakes_an_idle_watcher_within_a_minute(store: Store, memes: Path) -> None:
    async with manned(store, rhythm=Rhythm()) as post:
        await post.watch(memes)
        await post.store.database.read(lambda connection: None)
        loop = asyncio.get_running_loop()
        timers = [timer.when() for timer in loop._scheduled if not timer.cancelled()]  # type: ignore[attr-defined]  # no other way to see what would wake the loop
        assert timers
        off_s = [abs(at - BEAT_S * round(at / BEAT_S)) for at in timers if at < loop.time() + BEAT_S]
        assert (
            max(off_s, default=0) < 1.0
        )  # a machine may stall between the reading of a clock and the setting of a timer


async def test_what_an_add_finds_in_a_new_folder_counts_for_the_add(post: Post, memes: Path) -> None:
    """Or else `add --wait` would wait for nothing."""
    for number in range(100):
        put(memes / f"{number}.png")
    added = await post.add(memes)
    await post.until_walked(added)
    await post.until_state(await post.folder(memes), "watching")
    assert (await post.store.listing.progress(added.add or 0)).total == 100


async def test_a_walk_that_a_crash_cut_off_is_finished_before_its_folder_is_watched(store: Store, memes: Path) -> None:
    """Or else the watcher would take from the add what it has promised to find."""
    put(memes / "x.png")
    clock = Clock()
    intake = Intake(store.arrivals, clock, settle_s=0)
    await intake.add(Add((str(memes),)), "key")  # nobody walks: as if the daemon had ended here
    watcher = Watcher(store.arrivals, intake, clock, Config())
    await watcher.run_once()
    assert watcher._lookouts == {}
    (folder,) = await store.arrivals.folders()
    assert watcher.health(folder.id) == ("scanning", None)
