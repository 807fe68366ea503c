"""A post-upload processor on a pipeline to a scripted server."""

import contextlib
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline_fixtures import PipelineHarness, jpeg, open_pipeline

from splootd.core.item import FoundFile, Item, Priority, State
from splootd.core.post_upload_action import PostUploadAction
from splootd.file_reader import stat_version
from splootd.post_upload import safe_move
from splootd.post_upload.post_upload import PostUploadProcessor
from splootd.post_upload.trash import Trash
from splootd.store.move_journal import MoveJournal
from splootd.store.upsert import Source

TRASH = PostUploadAction(None)


@dataclass
class MoveHarness:
    """A pipeline to a scripted server, and a processor with a temporary home trash."""

    pipeline: PipelineHarness
    moves: MoveJournal
    processor: PostUploadProcessor
    home: Path
    target_folder: Path

    @property
    def move_action(self) -> PostUploadAction:
        return PostUploadAction(bytes(self.target_folder))

    @property
    def trashed(self) -> Path:
        return self.home / ".local/share/Trash/files"

    @property
    def info_files(self) -> list[str]:
        info = self.home / ".local/share/Trash/info"
        return sorted(each.name for each in info.iterdir()) if info.exists() else []

    async def ready(self, name: str, after: PostUploadAction, content: bytes | None = None) -> Item:
        """Upload a file with a post-upload action; return its item, which is ready."""
        path = self.pipeline.folder / name
        path.write_bytes(jpeg(name) if content is None else content)
        os.utime(path, (1e9, 1e9))
        origin = Source(None, None, Priority.NORMAL, (), force=False, after_upload=after)
        (result,) = await self.pipeline.store.import_store.enqueue(
            [FoundFile(bytes(path), stat_version(bytes(path)))],
            origin,
            is_still_there=is_version_still_at,
            now=self.pipeline.clock.now(),
        )
        await self.pipeline.take(result.item_id)
        await self.pipeline.tracker.run_once()
        item = await self.pipeline.store.item(result.item_id)
        assert item.state is State.READY
        return item

    async def error_messages(self, item: Item) -> list[str]:
        return [attempt.error_message for attempt in await self.pipeline.store.read_queries.attempts(item.id)]

    async def pending_ids(self) -> list[int]:
        return [action.item.id for action in await self.moves.pending_actions(after_id=0, limit=100)]

    def new_processor(self) -> PostUploadProcessor:
        """Create the processor of a daemon that starts later."""
        pipeline = self.pipeline
        return PostUploadProcessor(
            self.moves,
            pipeline.store.ledger,
            pipeline.client,
            pipeline.admission,
            clock=pipeline.clock,
            wake_signals=pipeline.store.wake_signals,
            trash=Trash({"HOME": str(self.home)}, platform="linux"),
        )


def is_version_still_at(path: bytes, version: Any) -> bool:
    return safe_move.is_version_at(Path(os.fsdecode(path)), version)


@contextlib.asynccontextmanager
async def move_harness(folder: Path) -> AsyncIterator[MoveHarness]:
    """Open a pipeline and a processor in `folder`."""
    async with open_pipeline(folder) as pipeline:
        home, target_folder = folder / "home", folder / "target_folder"
        home.mkdir()
        target_folder.mkdir()
        moves = MoveJournal(
            pipeline.store.database, server_id=pipeline.store.server_id, wake_signals=pipeline.store.wake_signals
        )
        harness = MoveHarness(pipeline, moves, None, home, target_folder)  # type: ignore[arg-type]  # set below
        harness.processor = harness.new_processor()
        yield harness


def path_of(item: Item) -> Path:
    return Path(os.fsdecode(item.path))
