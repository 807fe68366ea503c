"""Presence in the library, post-upload actions, undo and backup."""

import asyncio
import hashlib
import os
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from control_fixtures import PNG, ControlApi, serve_control_api

from splootd.control import presence as presence_module
from splootd.errors import RequestError, Unreachable
from splootd.protocol import Add, AddReply, Backup, Explanation, GetExplanation, MessageReply, Retry, Undo, UndoReply
from splootd.remote.responses import EmbeddingReport, EmbeddingStatus, ExistingAsset

SHA = hashlib.sha256(PNG + b"a.png").digest()


class PresenceCheck:
    """Fake presence check of the library."""

    def __init__(self, control_api: ControlApi) -> None:
        self.is_present = True
        self.error: Exception | None = None
        self.hangs = False
        self.count = 0
        control_api.library.check = self.check  # type: ignore[attr-defined]
        control_api.library.embedding_status = self.embedding_status  # type: ignore[attr-defined]

    async def check(self, sha256: bytes, *, control: bool) -> ExistingAsset | None:
        assert control, "the check must not wait behind uploads"
        self.count += 1
        if self.hangs:
            await asyncio.Event().wait()
        if self.error:
            raise self.error
        return ExistingAsset("a1", has_embedding=True) if self.is_present else None

    async def embedding_status(self, asset_id: str) -> EmbeddingReport:
        return EmbeddingReport(EmbeddingStatus.READY if self.is_present else EmbeddingStatus.UNKNOWN)


@pytest.fixture
async def control_api(tmp_path: Path) -> AsyncIterator[ControlApi]:
    async with serve_control_api(tmp_path) as control_api:
        yield control_api


@pytest.fixture
def presence_check(control_api: ControlApi) -> PresenceCheck:
    return PresenceCheck(control_api)


async def ready(control_api: ControlApi, name: str = "a.png") -> str:
    """Add a file, mark it as uploaded, and return its path."""
    await control_api.add(name)
    queue, now = control_api.context.queue, control_api.context.clock.now()
    (item,) = [
        item for item in await control_api.context.read_queries.items(limit=10) if item.path.endswith(os.fsencode(name))
    ]
    await queue.bump([item.id], now=now)
    leased = await queue.claim_urgent(now=now)
    assert leased is not None
    await queue.accept(leased, asset_id="a1", sha256=SHA, duplicate=False, embedded=True, now=now)
    return str(control_api.folder / name)


async def test_only_ready_items_are_checked_in_the_library(control_api: ControlApi, presence_check: PresenceCheck):
    await control_api.add("waiting.png")
    explanation = await control_api.request(GetExplanation(str(control_api.folder / "waiting.png")), Explanation)
    assert (presence_check.count, explanation.removed_at) == (0, None)
    path = await ready(control_api)
    explanation = await control_api.request(GetExplanation(path), Explanation)
    assert (presence_check.count, explanation.removed_at, explanation.next) == (1, None, "Done: it is searchable.")


async def test_a_removal_is_reported_and_recorded_in_the_ledger(control_api: ControlApi, presence_check: PresenceCheck):
    path = await ready(control_api)
    presence_check.is_present = False
    first = await control_api.request(GetExplanation(path), Explanation)
    assert first.removed_at is not None
    assert "Removed from the library" in first.next
    assert (await control_api.request(GetExplanation(path), Explanation)).removed_at == first.removed_at
    presence_check.is_present = True  # the owner restored it
    assert (await control_api.request(GetExplanation(path), Explanation)).removed_at is None
    content = await control_api.context.ledger.get(SHA)
    assert content is not None
    assert content.removed_at is None


@pytest.mark.parametrize("hangs", [True, False])
async def test_the_presence_check_is_bounded_in_time(
    control_api: ControlApi, presence_check: PresenceCheck, monkeypatch: pytest.MonkeyPatch, hangs: bool
):
    monkeypatch.setattr(presence_module, "PRESENCE_TIMEOUT_S", 0.05)
    path = await ready(control_api)
    presence_check.hangs, presence_check.error = hangs, Unreachable("missing")
    explanation = await control_api.request(GetExplanation(path), Explanation)
    assert explanation.removed_at is None
    assert explanation.next.endswith("The library could not be reached to confirm that it still has the file.")


@pytest.mark.parametrize("action", ["", "shred", "move", "move:", "move:relative", "move:/no/such/folder", "keep:/tmp"])
async def test_an_invalid_post_upload_action_queues_nothing(control_api: ControlApi, action: str):
    (control_api.folder / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(RequestError) as error:
        await control_api.request(Add((str(control_api.folder / "a.png"),), after_upload=action), AddReply)
    assert error.value.code == "bad_after_upload"
    assert (await control_api.context.read_queries.counts()).total == 0


async def test_adding_a_folder_again_changes_its_post_upload_action(control_api: ControlApi, tmp_path: Path):
    for action in (f"move:{tmp_path}", "trash", "keep"):
        await control_api.request(Add((str(control_api.folder),), after_upload=action), AddReply)
        (folder,) = await control_api.context.folder_store.folders()
        assert (folder.after_upload.serialized if folder.after_upload else b"keep") == os.fsencode(action)


async def test_undo_reports_restored_files_and_errors(control_api: ControlApi, presence_check: PresenceCheck):
    path = await ready(control_api)
    (item,) = await control_api.context.read_queries.items(limit=10)
    await control_api.request(Add((path,), after_upload="trash"), AddReply)
    await control_api.context.post_upload.run_once()
    assert not Path(path).exists()  # noqa: ASYNC240 - a moment
    reply = await control_api.request(Undo(ids=(item.id, 99)), UndoReply)
    assert [(each.path, each.outcome) for each in reply.paths] == [(path, "restored"), ("99", "not_found")]
    assert Path(path).exists()  # noqa: ASYNC240 - a moment
    with pytest.raises(RequestError, match="no file to restore was given"):
        await control_api.request(Undo(), UndoReply)
    with pytest.raises(RequestError, match="nothing to undo: no file has been moved away"):
        await control_api.request(Undo(last=True), UndoReply)
    with pytest.raises(RequestError, match="nothing to retry was given"):
        await control_api.request(Retry(), MessageReply)


async def test_a_backup_never_overwrites_the_database(control_api: ControlApi, tmp_path: Path):
    await control_api.add("a.png")
    reply = await control_api.request(Backup(str(tmp_path / "copy.db")), MessageReply)
    assert str(tmp_path / "copy.db") in reply.message
    connection = sqlite3.connect(tmp_path / "copy.db")
    assert connection.execute("SELECT count(*) FROM items").fetchone() == (1,)
    connection.close()
    for file in ("copy.db", "", str(tmp_path), str(tmp_path / "queue.db"), str(tmp_path / "queue.db-wal"), "/no/x.db"):
        with pytest.raises(RequestError):
            await control_api.request(Backup(file), MessageReply)
    assert control_api.context.database.path.exists()
