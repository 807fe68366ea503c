"""A file is moved only if the library has it; after any failure it is in exactly one place and can be restored."""

import asyncio
import errno
import hashlib
import os
from collections.abc import Callable
from typing import Any

import pytest
from pipeline_fixtures import jpeg
from post_upload_fixtures import TRASH, MoveHarness, is_version_still_at, path_of
from scripted_sploot import lose_response, reply_with

from splootd.core.item import FoundFile, Priority, State
from splootd.errors import ServerError
from splootd.file_reader import stat_version
from splootd.post_upload import move_recovery, post_upload
from splootd.post_upload.post_upload import MISSING_GRACE_S
from splootd.store.move_journal import MoveState
from splootd.store.upsert import Source


async def test_an_uploaded_file_is_moved_to_the_folder_and_its_item_follows(harness: MoveHarness) -> None:
    item = await harness.ready("a.jpg", harness.move_action)
    assert not await harness.processor.run_once()
    assert not path_of(item).exists()
    assert (harness.target_folder / "a.jpg").read_bytes() == jpeg("a.jpg")
    now = await harness.pipeline.store.item(item.id)
    assert (now.path, now.state) == (bytes(harness.target_folder / "a.jpg"), State.READY)
    assert await harness.pending_ids() == []


async def test_an_uploaded_file_is_moved_to_the_trash_with_an_info_file(harness: MoveHarness) -> None:
    item = await harness.ready("a.jpg", TRASH)
    await harness.processor.run_once()
    assert not path_of(item).exists()
    assert (harness.trashed / "a.jpg").read_bytes() == jpeg("a.jpg")
    assert harness.info_files == ["a.jpg.trashinfo"]
    assert (await harness.pipeline.store.item(item.id)).path == item.path


async def test_a_file_is_not_moved_before_it_is_ready(harness: MoveHarness) -> None:
    harness.pipeline.sploot.embeds_immediately = False
    path = harness.pipeline.folder / "a.jpg"
    path.write_bytes(jpeg("a"))
    origin = Source(None, None, Priority.NORMAL, (), force=False, after_upload=TRASH)
    request = FoundFile(bytes(path), stat_version(bytes(path)))
    (result,) = await harness.pipeline.store.import_store.enqueue(
        [request], origin, is_still_there=is_version_still_at, now=1.0
    )
    await harness.processor.run_once()
    assert (await harness.pipeline.take(result.item_id)).state is State.EMBEDDING
    await harness.processor.run_once()
    assert path.exists()
    assert await harness.moves.get_last() is None


@pytest.mark.parametrize("state", ["failed", "missing", "skipped"])
async def test_a_file_that_was_not_uploaded_is_not_touched(harness: MoveHarness, state: str) -> None:
    if state == "failed":
        harness.pipeline.sploot.script("upload", reply_with(400, {"error": "refused"}))
    content = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(50) if state == "skipped" else jpeg("a")
    path = harness.pipeline.folder / "a.jpg"
    path.write_bytes(content)
    origin = Source(None, None, Priority.NORMAL, (), force=False, after_upload=TRASH)
    request = FoundFile(bytes(path), stat_version(bytes(path)))
    (result,) = await harness.pipeline.store.import_store.enqueue(
        [request], origin, is_still_there=is_version_still_at, now=1.0
    )
    if state == "missing":
        path.rename(harness.pipeline.folder / "elsewhere.jpg")
    assert (await harness.pipeline.take(result.item_id)).state == state
    await harness.processor.run_once()
    assert len(list(harness.pipeline.folder.iterdir())) == 1
    assert not harness.trashed.exists()


async def test_a_file_that_the_server_no_longer_has_is_kept(harness: MoveHarness) -> None:
    item = await harness.ready("a.jpg", TRASH)
    harness.pipeline.sploot.assets.clear()
    await harness.processor.run_once()
    assert path_of(item).exists()
    assert await harness.error_messages(item) == ["file kept: the library no longer has it"]
    assert await harness.pending_ids() == []
    content = await harness.pipeline.store.ledger.get(hashlib.sha256(jpeg("a.jpg")).digest())
    assert content is not None
    assert content.removed_at is not None


@pytest.mark.parametrize("failure", [lose_response, reply_with(500, {"error": "no"}), reply_with(200, b"<html>")])
async def test_without_a_valid_response_nothing_is_moved_and_the_check_is_repeated(
    harness: MoveHarness, failure: Any
) -> None:
    item = await harness.ready("a.jpg", TRASH)
    harness.pipeline.sploot.script("check", failure)
    with pytest.raises(ServerError):
        await harness.processor.run_once()
    assert path_of(item).exists()
    await harness.processor.run_once()
    assert not path_of(item).exists()


async def test_a_file_that_has_changed_is_kept(harness: MoveHarness) -> None:
    item = await harness.ready("a.jpg", TRASH)
    path_of(item).write_bytes(jpeg("b.jpg"))
    await harness.processor.run_once()
    assert path_of(item).read_bytes() == jpeg("b.jpg")
    assert await harness.error_messages(item) == ["file kept: it has changed since its upload"]


async def test_other_bytes_under_the_same_times_are_noticed(harness: MoveHarness) -> None:
    """The hash detects a change that size and times do not show."""
    item = await harness.ready("a.jpg", TRASH)
    content = jpeg("b.jpg")
    assert len(content) == item.version.size
    with path_of(item).open("r+b") as stream:
        stream.write(content)
    os.utime(path_of(item), ns=(item.version.mtime_ns, item.version.mtime_ns))
    assert stat_version(item.path) == item.version
    await harness.processor.run_once()
    assert path_of(item).read_bytes() == content


async def test_a_file_that_changes_during_the_check_is_kept(harness: MoveHarness) -> None:
    item = await harness.ready("a.jpg", TRASH)

    async def change_and_reply(request: Any) -> Any:
        path_of(item).write_bytes(jpeg("b.jpg"))
        return await harness.pipeline.sploot.act(request)

    harness.pipeline.sploot.script("check", change_and_reply)
    await harness.processor.run_once()
    assert path_of(item).read_bytes() == jpeg("b.jpg")
    assert harness.info_files == []
    assert await harness.moves.in_progress() == []


async def test_a_hard_link_is_kept(harness: MoveHarness) -> None:
    item = await harness.ready("a.jpg", TRASH)
    os.link(path_of(item), harness.pipeline.folder / "b.jpg")
    await harness.processor.run_once()
    assert path_of(item).exists()
    assert await harness.error_messages(item) == ["file kept: it has another hard link"]


async def test_a_taken_name_gets_a_number(harness: MoveHarness) -> None:
    (harness.target_folder / "a.jpg").write_bytes(b"mine")
    item = await harness.ready("a.jpg", harness.move_action)
    await harness.processor.run_once()
    assert (harness.target_folder / "a.jpg").read_bytes() == b"mine"
    assert (harness.target_folder / "a (2).jpg").read_bytes() == jpeg("a.jpg")
    assert (await harness.pipeline.store.item(item.id)).path == bytes(harness.target_folder / "a (2).jpg")


async def test_the_action_waits_for_a_missing_target_folder(harness: MoveHarness) -> None:
    item = await harness.ready("a.jpg", harness.move_action)
    harness.target_folder.rename(harness.home / "away")
    assert await harness.processor.run_once()
    assert path_of(item).exists()
    (harness.home / "away").rename(harness.target_folder)
    assert not await harness.processor.run_once()
    assert (harness.target_folder / "a.jpg").exists()


async def test_the_action_waits_a_day_for_a_missing_file(harness: MoveHarness) -> None:
    """Its disk may be unmounted, or a scan may find it under a new name."""
    item = await harness.ready("a.jpg", TRASH)
    path_of(item).unlink()
    assert await harness.processor.run_once()
    assert await harness.pending_ids() == [item.id]
    harness.pipeline.clock.ahead_s += MISSING_GRACE_S
    assert not await harness.processor.run_once()
    assert await harness.pending_ids() == []


async def test_another_disk_keeps_the_file_where_it_is(harness: MoveHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    item = await harness.ready("a.jpg", harness.move_action)

    def no_link(*_: Any, **__: Any) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", no_link)
    await harness.processor.run_once()
    assert path_of(item).exists()
    assert await harness.error_messages(item) == ["file kept: the target folder is on another disk"]


class Crash(BaseException):
    """A power failure."""


def crashing(function: Callable[..., Any], *, after: bool) -> Callable[..., Any]:
    def crash(*arguments: Any, **options: Any) -> Any:
        if after:
            function(*arguments, **options)
        raise Crash

    return crash


CRASHES = [
    (step, after, is_undo)
    for step in ("write_info_file", "link", "unlink")
    for after in (False, True)
    for is_undo in (False, True)
    if step != "write_info_file" or not is_undo  # undo writes no info file
]


@pytest.mark.parametrize(("step", "after", "is_undo"), CRASHES)
async def test_after_a_crash_at_any_step_the_file_is_in_one_place_and_the_journal_has_it(
    harness: MoveHarness, step: str, after: bool, is_undo: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    item = await harness.ready("a.jpg", TRASH)
    if is_undo:
        await harness.processor.run_once()
    module = post_upload if step == "write_info_file" else os
    with monkeypatch.context() as crash:
        crash.setattr(module, step, crashing(getattr(module, step), after=after))
        with pytest.raises(Crash):
            await (harness.processor.undo(None) if is_undo else harness.processor.run_once())
    assert len(await harness.moves.in_progress()) == 1
    await harness.new_processor().recover()
    assert await harness.moves.in_progress() == []
    there = harness.trashed / "a.jpg"
    assert path_of(item).exists() != there.exists()
    kept = path_of(item) if path_of(item).exists() else there
    assert kept.read_bytes() == jpeg("a.jpg")
    assert kept.stat().st_nlink == 1
    move = await harness.moves.get_by_item(item.id)
    assert (move is not None) == there.exists()
    assert bool(harness.info_files) == there.exists()
    # Undo or the action continues from there.
    if there.exists():
        assert await harness.new_processor().undo(item.id) == (item.id, item.path)
    elif not is_undo:
        await harness.new_processor().run_once()
        assert there.exists()


async def test_a_disk_error_does_not_stop_the_processor(harness: MoveHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither during recovery nor later."""
    monkeypatch.setattr(post_upload, "RETRY_DELAY_S", 0.0)
    monkeypatch.setattr(post_upload, "MIN_INTERVAL_S", 0.0)
    item = await harness.ready("a.jpg", TRASH)
    await harness.moves.begin(item, target=bytes(harness.trashed / "a.jpg"), is_trashed=True, info_path=None, now=1.0)
    detect_state, failures = move_recovery.detect_state, [OSError(errno.EIO, "Input/output error")] * 2

    def failing(move: Any) -> MoveState:
        if failures:
            raise failures.pop()
        return detect_state(move)

    monkeypatch.setattr(move_recovery, "detect_state", failing)
    running = asyncio.create_task(harness.new_processor().run())
    try:
        async with asyncio.timeout(30):
            while not (harness.trashed / "a.jpg").exists():
                snapshot = harness.pipeline.store.wake_signals.events.snapshot()
                await harness.pipeline.store.wake_signals.events.wait(snapshot, 0.05)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert not path_of(item).exists()


async def test_a_crash_between_the_journal_and_the_disk_loses_nothing(harness: MoveHarness) -> None:
    item = await harness.ready("a.jpg", TRASH)
    move = await harness.moves.begin(
        item, target=bytes(harness.trashed / "a.jpg"), is_trashed=True, info_path=None, now=harness.pipeline.clock.now()
    )
    assert move is not None
    await harness.new_processor().recover()
    assert path_of(item).exists()
    assert await harness.pending_ids() == [item.id]


async def test_a_file_that_another_program_deleted_during_the_move_is_recorded_as_lost(harness: MoveHarness) -> None:
    item = await harness.ready("a.jpg", TRASH)
    await harness.moves.begin(item, target=bytes(harness.trashed / "a.jpg"), is_trashed=True, info_path=None, now=1.0)
    path_of(item).unlink()
    await harness.new_processor().recover()
    states = await harness.pipeline.store.rows("SELECT state FROM moves")
    assert states == [(MoveState.LOST.value,)]
    assert await harness.pending_ids() == []


async def test_the_processor_moves_files_as_they_become_ready_and_continues_after_errors(
    harness: MoveHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(post_upload, "MIN_INTERVAL_S", 0.0)
    monkeypatch.setattr(post_upload, "RETRY_DELAY_S", 0.0)
    harness.pipeline.sploot.script("check", lose_response)
    running = asyncio.create_task(harness.processor.run())
    try:
        item = await harness.ready("a.jpg", harness.move_action)
        async with asyncio.timeout(30):
            while not (harness.target_folder / "a.jpg").exists():
                snapshot = harness.pipeline.store.wake_signals.events.snapshot()
                await harness.pipeline.store.wake_signals.events.wait(snapshot, 0.1)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert not path_of(item).exists()
