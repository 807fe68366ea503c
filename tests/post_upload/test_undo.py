"""Undo moves the file back to its original folder, and never overwrites another file."""

import pytest
from pipeline_fixtures import jpeg
from post_upload_fixtures import TRASH, MoveHarness, path_of

from splootd.errors import RequestError


async def test_a_restored_file_stays(harness: MoveHarness) -> None:
    for after, name in ((TRASH, "a.jpg"), (harness.move_action, "b.jpg")):
        item = await harness.ready(name, after)
        await harness.processor.run_once()
        assert await harness.processor.undo(item.id) == (item.id, item.path)
        assert path_of(item).read_bytes() == jpeg(name)
        assert (await harness.pipeline.store.item(item.id)).path == item.path
        assert harness.info_files == []
        await harness.processor.run_once()
        assert path_of(item).exists()


async def test_the_last_moved_file_is_restored_first(harness: MoveHarness) -> None:
    items = [await harness.ready(name, TRASH) for name in ("a.jpg", "b.jpg")]
    await harness.processor.run_once()
    assert [await harness.processor.undo(None), await harness.processor.undo(None)] == [
        (item.id, item.path) for item in reversed(items)
    ]
    with pytest.raises(RequestError, match="nothing to undo: no file has been moved away"):
        await harness.processor.undo(None)


async def test_a_file_whose_old_name_is_taken_is_restored_with_a_number(harness: MoveHarness) -> None:
    item = await harness.ready("a.jpg", TRASH)
    await harness.processor.run_once()
    path_of(item).write_bytes(b"new")
    _, path = await harness.processor.undo(item.id)
    assert path == bytes(harness.pipeline.folder / "a (2).jpg")
    assert path_of(item).read_bytes() == b"new"
    assert (await harness.pipeline.store.item(item.id)).path == path


async def test_the_original_folder_is_created_again(harness: MoveHarness) -> None:
    (harness.pipeline.folder / "inner").mkdir()
    item = await harness.ready("inner/a.jpg", TRASH)
    await harness.processor.run_once()
    (harness.pipeline.folder / "inner").rmdir()
    await harness.processor.undo(item.id)
    assert path_of(item).read_bytes() == jpeg("inner/a.jpg")


@pytest.mark.parametrize("is_changed", [True, False])
async def test_a_file_no_longer_in_the_trash_cannot_be_restored(harness: MoveHarness, is_changed: bool) -> None:
    item = await harness.ready("a.jpg", TRASH)
    await harness.processor.run_once()
    (harness.trashed / "a.jpg").unlink()
    if is_changed:
        (harness.trashed / "a.jpg").write_bytes(b"another")
    with pytest.raises(RequestError, match=r"cannot restore a\.jpg: the moved file was deleted or changed"):
        await harness.processor.undo(item.id)
    assert not path_of(item).exists()
