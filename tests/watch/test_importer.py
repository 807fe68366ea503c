import asyncio
import os
import socket
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from store_fixtures import Store, open_store
from watch_fixtures import FAST_SCHEDULE, LIMIT_S, PNG, WatchHarness, put, running_watcher

from splootd.clock import Clock
from splootd.core.item import Priority, State
from splootd.errors import RequestError, StoreFull
from splootd.protocol import Add, AddReply
from splootd.watch import importer as importer_module
from splootd.watch.importer import Importer


async def outcome(harness: WatchHarness, path: Path) -> tuple[str, str | None]:
    added = await harness.add(path)
    (one,) = added.paths
    assert one.path == str(path)
    return one.outcome, one.detail


async def test_a_file_is_queued_with_the_options_of_the_command(harness: WatchHarness, memes: Path) -> None:
    put(memes / "a.png")
    added = await harness.add(memes / "a.png", priority="urgent", tags=("x", "y"), force=True)
    (item,) = await harness.items()
    assert (item.priority, item.tags, item.force) == (Priority.URGENT, ("x", "y"), True)
    assert added.paths[0].item == item.id
    assert (added.counts, added.scanning) == ({"queued": 1}, False)
    assert (await harness.store.read_queries.progress(added.import_id or 0)).total == 1


async def test_a_folder_is_imported_and_watched(harness: WatchHarness, memes: Path) -> None:
    (memes / "deep" / "deeper").mkdir(parents=True)
    put(memes / "a.png")
    put(memes / "deep" / "deeper" / "b.png")
    added = await harness.add(memes)
    assert (added.counts, added.scanning) == ({"queued": 2}, False)
    assert [one.outcome for one in added.paths] == ["folder"]
    folder = await harness.folder(memes)
    assert {item.folder_id for item in await harness.items()} == {folder.id}


async def test_once_imports_without_watching(harness: WatchHarness, memes: Path) -> None:
    put(memes / "a.png")
    added = await harness.add(memes, watch=False)
    assert added.counts == {"queued": 1}
    assert await harness.store.folder_store.folders() == []


async def test_what_does_not_exist_is_missing(harness: WatchHarness, memes: Path) -> None:
    (memes / "broken").symlink_to(memes / "nowhere")
    put(memes / "a.png")
    assert await outcome(harness, memes / "none.png") == (
        "missing",
        f"{memes}/none.png does not exist. Check the name.",
    )
    assert (await outcome(harness, memes / "broken"))[0] == "missing"
    assert (await outcome(harness, memes / "a.png" / "b.png"))[0] == "missing"
    assert (await outcome(harness, memes / ("x" * 300)))[0] == "missing"


async def test_a_symlink_to_itself_is_a_loop(harness: WatchHarness, memes: Path) -> None:
    (memes / "loop").symlink_to(memes / "loop")
    assert (await outcome(harness, memes / "loop"))[0] == "loop"


async def test_a_fifo_and_a_socket_are_no_files(
    harness: WatchHarness, memes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(memes / "fifo.png")
    monkeypatch.chdir(memes)
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("socket.png")
        assert (await outcome(harness, memes / "fifo.png"))[0] == "not_a_file"
        assert (await outcome(harness, memes / "socket.png"))[0] == "not_a_file"
        assert (await outcome(harness, Path("/dev/null")))[0] == "not_a_file"


async def test_what_is_not_an_image_is_rejected_with_a_message(harness: WatchHarness, memes: Path) -> None:
    put(memes / "text.png", b"hello")
    put(memes / "empty.png", b"")
    assert await outcome(harness, memes / "text.png") == ("not_an_image", f"{memes}/text.png is not an image or video.")
    kind, detail = await outcome(harness, memes / "empty.png")
    assert (kind, detail) == ("empty", f"{memes}/empty.png is empty.")
    assert await harness.rows() == 0


async def test_the_type_of_an_incomplete_file_is_not_checked_yet(store: Store, memes: Path) -> None:
    importer = Importer(store.import_store, store.folder_store, Clock(), settle_s=3600)
    put(memes / "young.png", b"", at=None)
    before = time.time()
    added = await importer.add(Add((str(memes / "young.png"),)), "key")
    assert added.counts == {"queued": 1}
    (item,) = await store.read_queries.items(limit=10)
    assert item.next_at is not None
    assert before < item.next_at <= time.time() + 3600


async def test_a_settled_file_is_due_immediately(harness: WatchHarness, memes: Path) -> None:
    put(memes / "old.png")
    await harness.add(memes / "old.png")
    (item,) = await harness.items()
    assert item.next_at is None


async def test_a_file_from_the_future_settles_for_the_whole_time_and_no_longer(store: Store, memes: Path) -> None:
    importer = Importer(store.import_store, store.folder_store, Clock(), settle_s=2)
    put(memes / "future.png", at=time.time() + 1_000_000)
    await importer.add(Add((str(memes / "future.png"),)), "key")
    (item,) = await store.read_queries.items(limit=10)
    assert item.next_at is not None
    assert item.next_at <= time.time() + 2


@pytest.mark.usefixtures("ordinary_permissions")
async def test_what_may_not_be_read_is_unreadable(harness: WatchHarness, memes: Path) -> None:
    put(memes / "a.png")
    (memes / "a.png").chmod(0)
    (memes / "locked").mkdir(mode=0)
    assert (await outcome(harness, memes / "a.png"))[0] == "unreadable"
    assert (await outcome(harness, memes / "locked"))[0] == "unreadable"
    (memes / "locked").chmod(0o700)


async def test_symlink_arguments_are_resolved(harness: WatchHarness, memes: Path, tmp_path: Path) -> None:
    put(memes / "a.png")
    (tmp_path / "link.png").symlink_to(memes / "a.png")
    (tmp_path / "link").symlink_to(memes)
    assert (await outcome(harness, tmp_path / "link.png"))[0] == "queued"
    added = await harness.add(tmp_path / "link")
    assert added.counts == {"known": 1}
    assert await harness.paths() == {os.fsencode(memes / "a.png")}
    assert [folder.path for folder in await harness.store.folder_store.folders()] == [os.fsencode(memes)]


async def test_odd_names_survive(harness: WatchHarness, memes: Path) -> None:
    odd = os.fsencode(memes) + b"/caf\xe9\n\x1b[31m.png"
    put(odd)
    added = await harness.add(Path(os.fsdecode(odd)))
    assert added.counts == {"queued": 1}
    assert await harness.paths() == {odd}
    put(odd, b"no image")
    (one,) = (await harness.add(Path(os.fsdecode(odd)))).paths
    assert one.detail is not None
    assert one.detail.isprintable()


async def test_an_ignored_name_is_queued_when_it_is_named(harness: WatchHarness, memes: Path) -> None:
    put(memes / ".hidden.png")
    (memes / ".splootignore").write_text("*\n")
    assert (await outcome(harness, memes / ".hidden.png"))[0] == "queued"


async def test_one_bad_path_does_not_affect_the_others(harness: WatchHarness, memes: Path) -> None:
    put(memes / "a.png")
    added = await harness.add(memes / "none.png", memes / "a.png", memes / "a.png")
    assert added.counts == {"missing": 1, "queued": 1}
    assert [one.outcome for one in added.paths] == ["missing", "queued", "queued"]
    assert added.paths[1].item == added.paths[2].item


async def test_the_same_key_adds_once(harness: WatchHarness, memes: Path) -> None:
    put(memes / "a.png")
    request = Add((str(memes), str(memes / "a.png")))
    first = await harness.importer.add(request, "one key")
    second = await harness.importer.add(request, "one key")
    assert first.import_id == second.import_id
    assert await harness.rows() == 1
    assert len(await harness.store.folder_store.folders()) == 1


async def test_an_import_is_continued(harness: WatchHarness, memes: Path) -> None:
    put(memes / "a.png")
    put(memes / "b.png")
    first = await harness.add(memes / "a.png", priority="background")
    second = await harness.add(memes / "b.png", priority="background", import_id=first.import_id)
    assert second.import_id == first.import_id
    assert (await harness.store.read_queries.progress(first.import_id or 0)).total == 2


async def test_an_import_that_does_not_exist_cannot_be_continued(harness: WatchHarness, memes: Path) -> None:
    put(memes / "a.png")
    with pytest.raises(RequestError, match="Import 12345 does not exist"):
        await harness.add(memes / "a.png", import_id=12345)
    assert await harness.rows() == 0


async def test_a_dry_run_counts_and_writes_nothing(harness: WatchHarness, memes: Path) -> None:
    put(memes / "a.png")
    put(memes / "b.png")
    put(memes / "text.txt", b"text")
    added = await harness.add(memes, memes / "none.png", dry_run=True)
    assert added.import_id is None
    assert added.counts == {"queued": 2, "missing": 1}
    assert not added.scanning
    assert await harness.rows() == 0
    assert await harness.store.folder_store.folders() == []
    assert await harness.store.rows("SELECT * FROM imports") == []


async def test_a_dry_run_predicts_the_outcome_of_each_file(harness: WatchHarness, memes: Path) -> None:
    for name in ("moved", "changed", "known"):
        put(memes / f"{name}.png")
    await harness.add(memes, watch=False)
    (memes / "moved.png").rename(memes / "there.png")
    put(memes / "changed.png", PNG + b"more")
    put(memes / "new.png")
    before = await harness.store.rows("SELECT * FROM items")
    predicted = (await harness.add(memes, dry_run=True, watch=False)).counts
    assert predicted == {"renamed": 1, "changed": 1, "known": 1, "queued": 1}
    assert await harness.store.rows("SELECT * FROM items") == before
    assert (await harness.add(memes, watch=False)).counts == predicted


async def test_a_folder_in_a_watched_one_is_not_watched_twice(harness: WatchHarness, memes: Path) -> None:
    inner = memes / "inner"
    inner.mkdir()
    put(inner / "a.png")
    await harness.add(memes)
    await harness.add(inner)
    await harness.add(inner, memes)
    assert [folder.path for folder in await harness.store.folder_store.folders()] == [os.fsencode(memes)]
    assert await harness.rows() == 1


async def test_of_two_nested_arguments_the_outer_folder_is_watched(harness: WatchHarness, memes: Path) -> None:
    (memes / "inner").mkdir()
    await harness.add(memes / "inner", memes)
    assert [folder.path for folder in await harness.store.folder_store.folders()] == [os.fsencode(memes)]


async def test_add_returns_while_the_scan_continues(
    harness: WatchHarness, memes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importer_module, "REPLY_TIMEOUT_S", 0)
    put(memes / "a.png")
    added = await harness.add(memes)
    assert added.scanning
    assert await harness.store.rows("SELECT path FROM import_roots") == [(os.fsencode(memes),)]
    await harness.until_paths(memes / "a.png")


async def test_an_import_is_committed_before_it_is_scanned(store: Store, memes: Path) -> None:
    """No scan runs here; the next daemon finds the unfinished import."""
    put(memes / "a.png")
    importer = Importer(store.import_store, store.folder_store, Clock(), settle_s=2)
    added: AddReply = await importer.add(Add((str(memes),), watch=False), "key")
    assert added.scanning
    assert await store.read_queries.items(limit=10) == []
    async with running_watcher(store) as harness:
        await harness.until_paths(memes / "a.png")
        await harness.until_scanned(added)


async def test_a_scan_that_a_crash_cut_off_continues(
    tmp_path: Path, memes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importer_module, "BATCH_MAX", 10)
    for number in range(200):
        put(memes / f"{number}.png")
    async with open_store(tmp_path / "queue.db") as store:
        reached, blocked = asyncio.Event(), asyncio.Event()
        enqueue, batches = store.import_store.enqueue, iter(range(5))

        async def enqueue_five(files: Sequence[object], *args: object, **options: object) -> object:
            assert len(files) <= 10
            if next(batches, None) is None:
                reached.set()
                await blocked.wait()
            return await enqueue(files, *args, **options)  # type: ignore[arg-type]  # passed on unchanged

        monkeypatch.setattr(store.import_store, "enqueue", enqueue_five)
        importer = Importer(store.import_store, store.folder_store, Clock(), settle_s=2)
        scanning = asyncio.create_task(importer.run())
        added = await importer.add(Add((str(memes),), watch=False), "key")
        assert added.scanning
        await asyncio.wait_for(reached.wait(), LIMIT_S)
        scanning.cancel()
        await asyncio.gather(scanning, return_exceptions=True)
    async with open_store(tmp_path / "queue.db", instance_id="instance2") as store:
        assert len(await store.read_queries.items(limit=1_000)) == 50
        assert (await store.read_queries.progress(added.import_id or 0)).scanning
        async with running_watcher(store) as harness:
            await harness.until_scanned(added)
        assert await harness.rows() == 200
        assert (await store.read_queries.progress(added.import_id or 0)).total == 200


async def test_a_store_error_delays_files_and_loses_none(
    store: Store, memes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importer_module, "RETRY_DELAY_S", 0)
    enqueue, failures = store.import_store.enqueue, iter([True, True])

    async def failing_enqueue(*args: object, **options: object) -> object:
        if next(failures, False):
            raise StoreFull("the disk is full")
        return await enqueue(*args, **options)  # type: ignore[arg-type]  # passed on unchanged

    monkeypatch.setattr(store.import_store, "enqueue", failing_enqueue)
    put(memes / "a.png")
    async with running_watcher(store) as harness:
        await harness.add(memes, watch=False)
        await harness.until_paths(memes / "a.png")


async def test_many_folders_are_scanned_and_none_is_skipped(harness: WatchHarness, tmp_path: Path) -> None:
    folders = []
    for number in range(12):
        folder = tmp_path / f"f{number}"
        folder.mkdir()
        put(folder / "a.png", PNG + b"%d" % number)
        folders.append(folder)
    await harness.add(*folders, watch=False)
    await harness.until_paths(*(folder / "a.png" for folder in folders))


async def test_what_was_moved_is_renamed_and_what_was_missing_is_requeued(harness: WatchHarness, memes: Path) -> None:
    put(memes / "a.png")
    await harness.add(memes, watch=False)
    (memes / "a.png").rename(memes / "b.png")
    assert (await harness.add(memes, watch=False)).counts == {"renamed": 1}
    (item,) = await harness.items()
    leased = await harness.store.claim(item.id)
    await harness.store.queue.file_missing(leased, error_message="missing", now=0)
    assert (await harness.add(memes, watch=False)).counts == {"requeued": 1}
    (item,) = await harness.items()
    assert item.state is State.PENDING


async def test_a_scan_needs_no_list_of_the_files(store: Store, memes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At most one batch of files is in memory, and each batch is committed before the next one is read."""
    monkeypatch.setattr(importer_module, "BATCH_MAX", 50)
    for number in range(500):
        put(memes / f"{number}.png")
    sizes = []
    enqueue = store.import_store.enqueue

    async def counting_enqueue(files: Sequence[object], *args: object, **options: object) -> object:
        sizes.append(len(files))
        return await enqueue(files, *args, **options)  # type: ignore[arg-type]  # passed on unchanged

    monkeypatch.setattr(store.import_store, "enqueue", counting_enqueue)
    async with running_watcher(store, schedule=FAST_SCHEDULE) as harness:
        await harness.add(memes, watch=False)
        await harness.until_count(500)
    assert max(sizes) <= 50
