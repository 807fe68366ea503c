import asyncio
import os
import socket
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from storekit import Store, opened
from watchkit import BRISK, LIMIT_S, PNG, Post, manned, put

from splootd.clock import Clock
from splootd.core.item import Priority, State
from splootd.errors import RequestError, StoreFull
from splootd.protocol import Add, Added
from splootd.work import intake as intake_module
from splootd.work.intake import Intake


async def outcome(post: Post, path: Path) -> tuple[str, str | None]:
    added = await post.add(path)
    (one,) = added.paths
    assert one.path == str(path)
    return one.outcome, one.detail


async def test_a_file_is_queued_with_the_options_of_the_command(post: Post, memes: Path) -> None:
    put(memes / "a.png")
    added = await post.add(memes / "a.png", priority="urgent", tags=("x", "y"), force=True)
    (item,) = await post.items()
    assert (item.priority, item.tags, item.force) == (Priority.URGENT, ("x", "y"), True)
    assert added.paths[0].item == item.id
    assert (added.counts, added.walking) == ({"queued": 1}, False)
    assert (await post.store.listing.progress(added.add or 0)).total == 1


async def test_a_folder_is_imported_and_watched(post: Post, memes: Path) -> None:
    (memes / "deep" / "deeper").mkdir(parents=True)
    put(memes / "a.png")
    put(memes / "deep" / "deeper" / "b.png")
    added = await post.add(memes)
    assert (added.counts, added.walking) == ({"queued": 2}, False)
    assert [one.outcome for one in added.paths] == ["folder"]
    folder = await post.folder(memes)
    assert {item.folder_id for item in await post.items()} == {folder.id}


async def test_once_imports_without_watching(post: Post, memes: Path) -> None:
    put(memes / "a.png")
    added = await post.add(memes, watch=False)
    assert added.counts == {"queued": 1}
    assert await post.store.arrivals.folders() == []


async def test_what_does_not_exist_is_missing(post: Post, memes: Path) -> None:
    (memes / "broken").symlink_to(memes / "nowhere")
    put(memes / "a.png")
    assert await outcome(post, memes / "none.png") == (
        "missing",
        f"{memes}/none.png does not exist: check the name",
    )
    assert (await outcome(post, memes / "broken"))[0] == "missing"
    assert (await outcome(post, memes / "a.png" / "b.png"))[0] == "missing"
    assert (await outcome(post, memes / ("x" * 300)))[0] == "missing"


async def test_a_link_in_a_circle_is_a_loop(post: Post, memes: Path) -> None:
    (memes / "loop").symlink_to(memes / "loop")
    assert (await outcome(post, memes / "loop"))[0] == "loop"


async def test_a_fifo_and_a_socket_are_no_files(post: Post, memes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(memes / "fifo.png")
    monkeypatch.chdir(memes)
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("socket.png")
        assert (await outcome(post, memes / "fifo.png"))[0] == "not_a_file"
        assert (await outcome(post, memes / "socket.png"))[0] == "not_a_file"
        assert (await outcome(post, Path("/dev/null")))[0] == "not_a_file"


async def test_what_is_no_image_is_refused_at_once_and_in_words(post: Post, memes: Path) -> None:
    put(memes / "text.png", b"hello")
    put(memes / "empty.png", b"")
    assert (await outcome(post, memes / "text.png"))[0] == "not_an_image"
    kind, detail = await outcome(post, memes / "empty.png")
    assert (kind, detail) == ("empty", f"{memes}/empty.png is empty: there is nothing to send")
    assert await post.rows() == 0


async def test_a_file_that_is_still_being_written_is_not_judged_yet(store: Store, memes: Path) -> None:
    intake = Intake(store.arrivals, Clock(), settle_s=3600)
    put(memes / "young.png", b"", at=None)
    before = time.time()
    added = await intake.add(Add((str(memes / "young.png"),)), "key")
    assert added.counts == {"queued": 1}
    (item,) = await store.listing.items(limit=10)
    assert item.next_at is not None
    assert before < item.next_at <= time.time() + 3600


async def test_a_file_that_rests_long_enough_is_due_at_once(post: Post, memes: Path) -> None:
    put(memes / "old.png")
    await post.add(memes / "old.png")
    (item,) = await post.items()
    assert item.next_at is None


async def test_a_file_from_the_future_rests_the_whole_time_and_no_longer(store: Store, memes: Path) -> None:
    intake = Intake(store.arrivals, Clock(), settle_s=2)
    put(memes / "future.png", at=time.time() + 1_000_000)
    await intake.add(Add((str(memes / "future.png"),)), "key")
    (item,) = await store.listing.items(limit=10)
    assert item.next_at is not None
    assert item.next_at <= time.time() + 2


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
async def test_what_may_not_be_read_is_unreadable(post: Post, memes: Path) -> None:
    put(memes / "a.png")
    (memes / "a.png").chmod(0)
    (memes / "locked").mkdir(mode=0)
    assert (await outcome(post, memes / "a.png"))[0] == "unreadable"
    assert (await outcome(post, memes / "locked"))[0] == "unreadable"
    (memes / "locked").chmod(0o700)


async def test_links_that_are_named_are_resolved(post: Post, memes: Path, tmp_path: Path) -> None:
    put(memes / "a.png")
    (tmp_path / "link.png").symlink_to(memes / "a.png")
    (tmp_path / "link").symlink_to(memes)
    assert (await outcome(post, tmp_path / "link.png"))[0] == "queued"
    added = await post.add(tmp_path / "link")
    assert added.counts == {"known": 1}
    assert await post.paths() == {os.fsencode(memes / "a.png")}
    assert [folder.path for folder in await post.store.arrivals.folders()] == [os.fsencode(memes)]


async def test_odd_names_survive(post: Post, memes: Path) -> None:
    odd = os.fsencode(memes) + b"/caf\xe9\n\x1b[31m.png"
    put(odd)
    added = await post.add(Path(os.fsdecode(odd)))
    assert added.counts == {"queued": 1}
    assert await post.paths() == {odd}
    put(odd, b"no image")
    (one,) = (await post.add(Path(os.fsdecode(odd)))).paths
    assert one.detail is not None
    assert one.detail.isprintable()


async def test_an_ignored_name_is_queued_when_it_is_named(post: Post, memes: Path) -> None:
    put(memes / ".hidden.png")
    (memes / ".splootignore").write_text("*\n")
    assert (await outcome(post, memes / ".hidden.png"))[0] == "queued"


async def test_one_bad_path_spoils_nothing(post: Post, memes: Path) -> None:
    put(memes / "a.png")
    added = await post.add(memes / "none.png", memes / "a.png", memes / "a.png")
    assert added.counts == {"missing": 1, "queued": 1}
    assert [one.outcome for one in added.paths] == ["missing", "queued", "queued"]
    assert added.paths[1].item == added.paths[2].item


async def test_the_same_key_adds_once(post: Post, memes: Path) -> None:
    put(memes / "a.png")
    request = Add((str(memes), str(memes / "a.png")))
    first = await post.intake.add(request, "one key")
    second = await post.intake.add(request, "one key")
    assert first.add == second.add
    assert await post.rows() == 1
    assert len(await post.store.arrivals.folders()) == 1


async def test_an_add_is_continued(post: Post, memes: Path) -> None:
    put(memes / "a.png")
    put(memes / "b.png")
    first = await post.add(memes / "a.png", priority="background")
    second = await post.add(memes / "b.png", priority="background", add=first.add)
    assert second.add == first.add
    assert (await post.store.listing.progress(first.add or 0)).total == 2


async def test_an_add_that_does_not_exist_cannot_be_continued(post: Post, memes: Path) -> None:
    put(memes / "a.png")
    with pytest.raises(RequestError, match="no add 12345"):
        await post.add(memes / "a.png", add=12345)
    assert await post.rows() == 0


async def test_a_dry_run_counts_and_writes_nothing(post: Post, memes: Path) -> None:
    put(memes / "a.png")
    put(memes / "b.png")
    put(memes / "text.txt", b"text")
    added = await post.add(memes, memes / "none.png", dry_run=True)
    assert added.add is None
    assert added.counts == {"queued": 2, "missing": 1}
    assert not added.walking
    assert await post.rows() == 0
    assert await post.store.arrivals.folders() == []
    assert await post.store.rows("SELECT * FROM adds") == []


async def test_a_dry_run_tells_what_would_come_of_each_file(post: Post, memes: Path) -> None:
    for name in ("moved", "changed", "known"):
        put(memes / f"{name}.png")
    await post.add(memes, watch=False)
    (memes / "moved.png").rename(memes / "there.png")
    put(memes / "changed.png", PNG + b"more")
    put(memes / "new.png")
    before = await post.store.rows("SELECT * FROM items")
    foretold = (await post.add(memes, dry_run=True, watch=False)).counts
    assert foretold == {"renamed": 1, "changed": 1, "known": 1, "queued": 1}
    assert await post.store.rows("SELECT * FROM items") == before
    assert (await post.add(memes, watch=False)).counts == foretold


async def test_a_folder_in_a_watched_one_is_not_watched_twice(post: Post, memes: Path) -> None:
    inner = memes / "inner"
    inner.mkdir()
    put(inner / "a.png")
    await post.add(memes)
    await post.add(inner)
    await post.add(inner, memes)
    assert [folder.path for folder in await post.store.arrivals.folders()] == [os.fsencode(memes)]
    assert await post.rows() == 1


async def test_named_together_the_outer_folder_is_watched(post: Post, memes: Path) -> None:
    (memes / "inner").mkdir()
    await post.add(memes / "inner", memes)
    assert [folder.path for folder in await post.store.arrivals.folders()] == [os.fsencode(memes)]


async def test_add_returns_while_the_walk_goes_on(post: Post, memes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake_module, "REPLY_TIME_S", 0)
    put(memes / "a.png")
    added = await post.add(memes)
    assert added.walking
    assert await post.store.rows("SELECT path FROM roots") == [(os.fsencode(memes),)]
    await post.until_named(memes / "a.png")


async def test_what_was_added_is_promised_before_anything_is_walked(store: Store, memes: Path) -> None:
    """Nobody walks here: whoever starts next finds what there is to do."""
    put(memes / "a.png")
    intake = Intake(store.arrivals, Clock(), settle_s=2)
    added: Added = await intake.add(Add((str(memes),), watch=False), "key")
    assert added.walking
    assert await store.listing.items(limit=10) == []
    async with manned(store) as post:
        await post.until_named(memes / "a.png")
        await post.until_walked(added)


async def test_a_walk_that_a_crash_cut_off_goes_on(
    tmp_path: Path, memes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake_module, "BATCH_MAX", 10)
    for number in range(200):
        put(memes / f"{number}.png")
    async with opened(tmp_path / "queue.db") as store:
        reached, blocked = asyncio.Event(), asyncio.Event()
        offer, batches = store.arrivals.offer, iter(range(5))

        async def offer_some(candidates: Sequence[object], *args: object, **options: object) -> object:
            assert len(candidates) <= 10
            if next(batches, None) is None:
                reached.set()
                await blocked.wait()
            return await offer(candidates, *args, **options)  # type: ignore[arg-type]  # passed on as they came

        monkeypatch.setattr(store.arrivals, "offer", offer_some)
        intake = Intake(store.arrivals, Clock(), settle_s=2)
        walking = asyncio.create_task(intake.run())
        added = await intake.add(Add((str(memes),), watch=False), "key")
        assert added.walking
        await asyncio.wait_for(reached.wait(), LIMIT_S)
        walking.cancel()
        await asyncio.gather(walking, return_exceptions=True)
    async with opened(tmp_path / "queue.db", boot="boot2") as store:
        assert len(await store.listing.items(limit=1_000)) == 50
        assert (await store.listing.progress(added.add or 0)).walking
        async with manned(store) as post:
            await post.until_walked(added)
        assert await post.rows() == 200
        assert (await store.listing.progress(added.add or 0)).total == 200


async def test_a_store_in_trouble_costs_time_and_no_file(
    store: Store, memes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake_module, "TROUBLE_PAUSE_S", 0)
    offer, refusals = store.arrivals.offer, iter([True, True])

    async def offer_in_trouble(*args: object, **options: object) -> object:
        if next(refusals, False):
            raise StoreFull("the disk is full")
        return await offer(*args, **options)  # type: ignore[arg-type]  # passed on as they came

    monkeypatch.setattr(store.arrivals, "offer", offer_in_trouble)
    put(memes / "a.png")
    async with manned(store) as post:
        await post.add(memes, watch=False)
        await post.until_named(memes / "a.png")


async def test_many_folders_are_walked_and_none_is_forgotten(post: Post, tmp_path: Path) -> None:
    folders = []
    for number in range(12):
        folder = tmp_path / f"f{number}"
        folder.mkdir()
        put(folder / "a.png", PNG + b"%d" % number)
        folders.append(folder)
    await post.add(*folders, watch=False)
    await post.until_named(*(folder / "a.png" for folder in folders))


async def test_what_was_moved_is_renamed_and_what_is_gone_and_back_is_revived(post: Post, memes: Path) -> None:
    put(memes / "a.png")
    await post.add(memes, watch=False)
    (memes / "a.png").rename(memes / "b.png")
    assert (await post.add(memes, watch=False)).counts == {"renamed": 1}
    (item,) = await post.items()
    leased = await post.store.claim(item.id)
    await post.store.queue.vanish(leased, reason="gone", now=0)
    assert (await post.add(memes, watch=False)).counts == {"revived": 1}
    (item,) = await post.items()
    assert item.state is State.PENDING


async def test_a_walk_needs_no_list_of_the_files(store: Store, memes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there are, at most a batch of them is in memory, and each batch is committed as the walk goes on."""
    monkeypatch.setattr(intake_module, "BATCH_MAX", 50)
    for number in range(500):
        put(memes / f"{number}.png")
    sizes = []
    offer = store.arrivals.offer

    async def counted(candidates: Sequence[object], *args: object, **options: object) -> object:
        sizes.append(len(candidates))
        return await offer(candidates, *args, **options)  # type: ignore[arg-type]  # passed on as they came

    monkeypatch.setattr(store.arrivals, "offer", counted)
    async with manned(store, rhythm=BRISK) as post:
        await post.add(memes, watch=False)
        await post.until_count(500)
    assert max(sizes) <= 50
