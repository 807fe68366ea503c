"""The rules for one found file, inside one transaction: new, changed, renamed, found again, or known."""

import enum
import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from splootd.core.error_code import ErrorCode
from splootd.core.item import FoundFile, Priority, State, Version, shard_for
from splootd.core.post_upload_action import PostUploadAction
from splootd.store.completion import SUPERSEDED_MESSAGE
from splootd.store.queries import SQL
from splootd.store.rows import parse_tags, to_signed, version_from_row, version_values


@dataclass(frozen=True, slots=True)
class Source:
    """The import and folder of a batch, and its upload options. `force` also uploads what the server has removed."""

    import_id: int | None
    folder_id: int | None
    priority: Priority
    tags: tuple[str, ...]
    force: bool
    after_upload: PostUploadAction | None = None

    @property
    def reads_all_files(self) -> bool:
        """Whether the options apply to known files too, even if they have ended."""
        return self.force or self.after_upload is not None or self.is_tagging

    @property
    def is_tagging(self) -> bool:
        """Whether a command gives tags to known files. The tags of a watched folder are for its new files."""
        return bool(self.tags) and self.import_id is not None


class UpsertResult(enum.StrEnum):
    """The effect of enqueueing one file."""

    QUEUED = "queued"
    CHANGED = "changed"  # a new version of a known path, queued
    RENAMED = "renamed"  # a known file at another path: only its path changed
    KNOWN = "known"
    REQUEUED = "requeued"  # a missing file that exists again
    TAGGED = "tagged"  # a known file with new tags, which are still to be applied
    REMOVED = "removed"  # a known file that was removed from the library


@dataclass(frozen=True, slots=True)
class EnqueueResult:
    """The effect of enqueueing one file, and the state of its item afterwards."""

    path: bytes
    outcome: UpsertResult
    item_id: int
    state: State

    @property
    def is_up_to_date(self) -> bool:
        """Return whether the same file, found again unchanged, needs no write."""
        return self.outcome is UpsertResult.KNOWN and self.state in _UP_TO_DATE_STATES


_UP_TO_DATE_STATES = frozenset({State.READY, State.FAILED, State.SKIPPED})


class Upsert:
    """One transaction of found files from one source.

    `is_still_there(path, version)` checks the disk for that very file at that path. It is called only for items with
    the inode, size and mtime of a found file, to tell a rename from a hard link.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        source: Source,
        *,
        server_id: int,
        is_still_there: Callable[[bytes, Version], bool],
        now: float,
    ) -> None:
        self._connection = connection
        self._source = source
        self._is_still_there = is_still_there
        self._server_id = server_id
        self._values = {
            "server_id": server_id,
            "import_id": source.import_id,
            "folder_id": source.folder_id,
            "priority": source.priority,
            "tags": json.dumps(source.tags) if source.tags else "[]",
            "force": source.force,
            "after_upload": source.after_upload and source.after_upload.serialized,
            "now": now,
        }

    def apply_all(self, files: Sequence[FoundFile]) -> list[EnqueueResult]:
        """Upsert files with the same result as one `apply` each, in this order.

        Most files are unchanged or new. One statement inserts the new ones ahead of the others: none of them shares
        its path or its inode with another file of the batch, so their order does not change any result.
        """
        if len(files) == 1:
            return [self.apply(files[0])]
        repeated = _find_repeated([file.path for file in files])
        repeated |= _find_repeated([(file.version.device, file.version.inode) for file in files])
        results: dict[int, EnqueueResult] = {}
        unknown: list[int] = []
        for n, file in enumerate(files):
            if n not in repeated:
                row = self._connection.execute(SQL["version_at_path"], (self._server_id, file.path)).fetchone()
                if row is None:
                    unknown.append(n)
                elif self._is_unchanged(row, file.version):
                    results[n] = EnqueueResult(file.path, self._known_or_removed(row), row[0], State(row[1]))
        if len(unknown) > 1:
            results |= self._insert_new({n: files[n] for n in unknown})
        return [results.get(n) or self._apply_rules(file) for n, file in enumerate(files)]

    def _insert_new(self, files: Mapping[int, FoundFile]) -> dict[int, EnqueueResult]:
        """Insert the files whose inodes are new too. Returns their results by index."""
        index_by_path = {file.path: n for n, file in files.items()}
        self._connection.executemany(SQL["stage_item"], map(_staging_row, files.values()))
        self._run("unstage_known_inodes")
        inserted = self._run("insert_staged_items")
        self._run("clear_staged_items")
        # RETURNING promises no order of its rows: each row finds its file by its path.
        return {
            index_by_path[path]: EnqueueResult(path, UpsertResult.QUEUED, item_id, State.PENDING)
            for path, item_id in inserted
        }

    def _is_unchanged(self, row: sqlite3.Row, version: Version) -> bool:
        """Return whether a file equals its row and needs no write."""
        _item_id, state, folder_id, size, mtime_ns, device, inode, _error_code, _sha256 = row
        if self._source.reads_all_files or state not in _UP_TO_DATE_STATES:
            return False
        is_folder_assigned = folder_id is not None or self._source.folder_id is None
        is_same = size == version.size and mtime_ns == version.mtime_ns and inode == to_signed(version.inode)
        return is_folder_assigned and is_same and device == to_signed(version.device)

    def apply(self, file: FoundFile) -> EnqueueResult:
        """Upsert one file. Most single files are new, which one query detects."""
        version = file.version
        values = (self._server_id, file.path, to_signed(version.device), to_signed(version.inode))
        if self._connection.execute(SQL["is_known"], values).fetchone() is None:
            return self._insert(file, UpsertResult.QUEUED)
        return self._apply_rules(file)

    def _apply_rules(self, file: FoundFile) -> EnqueueResult:
        """Apply the rules in their order: same file at its path, renamed file, new version, new file."""
        row = self._fetch_one("latest_at_path", path=file.path)
        if row is not None and file.version.is_same_as(version_from_row(row)):
            if file.version != version_from_row(row):
                self._run("update_device", id=row["id"], **version_values(file.version))
            return self._apply_same_version(row, file, UpsertResult.KNOWN)
        renamed = self._find_renamed(file)
        if renamed is not None:
            if row is not None:
                self._supersede(row)
            self._run("rename", id=renamed["id"], path=file.path)
            return self._apply_same_version(renamed, file, UpsertResult.RENAMED)
        if row is not None:
            return self._apply_new_version(row, file)
        return self._insert(file, UpsertResult.QUEUED)

    def _apply_same_version(self, row: sqlite3.Row, file: FoundFile, outcome: UpsertResult) -> EnqueueResult:
        """Keep the item of an unchanged file, unless the file was missing or `force` uploads it again."""
        state = State(row["state"])
        if self._source.force and _may_be_removed_on_server(row):
            self._supersede(row)
            return self._insert(file, UpsertResult.QUEUED)
        new_tags = self._source.is_tagging and not set(self._source.tags) <= set(parse_tags(row["tags"]))
        if new_tags and row["asset_id"] is not None and state not in (State.PENDING, State.SKIPPED):
            self._supersede(row)
            tags = dict.fromkeys((*parse_tags(row["tags"]), *self._source.tags))
            return self._insert(file, UpsertResult.TAGGED, tags=json.dumps(list(tags)))
        if new_tags:
            self._run("set_tags", id=row["id"])
        if state is State.MISSING or (new_tags and row["error_code"] == ErrorCode.TAGS_REJECTED):
            self._run("requeue_in_place", id=row["id"], next_at=file.settles_at)
            outcome = UpsertResult.REQUEUED if outcome is UpsertResult.KNOWN else outcome
            state = State.PENDING
        elif outcome is UpsertResult.KNOWN:
            outcome = UpsertResult.TAGGED if new_tags else self._known_or_removed(row)
        if row["folder_id"] is None and self._source.folder_id is not None:
            self._run("assign_folder", id=row["id"])
        self._join_import(row["id"])
        if self._source.import_id is not None and self._source.after_upload is not None:
            self._run("set_after_upload", id=row["id"])
        return EnqueueResult(file.path, outcome, row["id"], state)

    def _apply_new_version(self, row: sqlite3.Row, file: FoundFile) -> EnqueueResult:
        state = State(row["state"])
        if state is State.UPLOADING:  # the worker checks the file again before it records a result
            self._join_import(row["id"])
            return EnqueueResult(file.path, UpsertResult.KNOWN, row["id"], state)
        if state is State.PENDING:
            version = version_values(file.version)
            self._run("update_version", id=row["id"], path=file.path, next_at=file.settles_at, **version)
            self._join_import(row["id"])
            return EnqueueResult(file.path, UpsertResult.CHANGED, row["id"], state)
        self._supersede(row)
        return self._insert(file, UpsertResult.CHANGED)

    def _join_import(self, item_id: int) -> None:
        """Count an unfinished item in the progress of this import too, if the source is one."""
        if self._source.import_id is not None:
            self._run("join_import", id=item_id)
            self._run("raise_priority", id=item_id)

    def _insert(self, file: FoundFile, outcome: UpsertResult, **values: Any) -> EnqueueResult:
        rows = self._run(
            "insert_item",
            path=file.path,
            shard=shard_for(file.path),
            next_at=file.settles_at,
            **version_values(file.version),
            **values,
        )
        return EnqueueResult(file.path, outcome, rows[0][0], State.PENDING)

    def _supersede(self, row: sqlite3.Row) -> None:
        self._run("supersede", id=row["id"], superseded_message=SUPERSEDED_MESSAGE)

    def _find_renamed(self, file: FoundFile) -> sqlite3.Row | None:
        """Return the item of this file at a path that no longer has it.

        An inode with two paths is a hard link while the old path still has the file. It is a rename only once the old
        path is empty, and a watcher may report the new path first: the disk decides, not the order of the events.
        """
        for row in self._run("latest_by_inode", **version_values(file.version)):
            if not self._is_still_there(row["path"], file.version):
                return row
        return None

    def _known_or_removed(self, row: sqlite3.Row) -> UpsertResult:
        """Return whether a file that a command names again has been removed from the library, as far as is known."""
        if self._source.import_id is None or row["state"] not in (State.READY, State.SKIPPED):
            return UpsertResult.KNOWN
        is_removed = row["error_code"] == ErrorCode.REMOVED
        if row["state"] == State.READY:
            entry = self._fetch_one("content", sha256=row["sha256"])
            is_removed = entry is not None and entry["removed_at"] is not None
        return UpsertResult.REMOVED if is_removed else UpsertResult.KNOWN

    def _fetch_one(self, query: str, **values: Any) -> sqlite3.Row | None:
        rows = self._run(query, **values)
        return rows[0] if rows else None

    def _run(self, query: str, **values: Any) -> list[sqlite3.Row]:
        params = {**self._values, **values}
        return self._connection.execute(SQL[query], params).fetchall()


def _may_be_removed_on_server(row: sqlite3.Row) -> bool:
    """Return whether the server had the content and may have lost it. The uploader queries the server first."""
    ended = (row["state"], row["error_code"])
    is_lost = ended in ((State.SKIPPED, ErrorCode.REMOVED), (State.FAILED, ErrorCode.EMBEDDING_FAILED))
    return row["state"] == State.READY or is_lost


def _staging_row(file: FoundFile) -> tuple[Any, ...]:
    path, (size, mtime_ns, device, inode), settles_at = file
    return path, size, mtime_ns, to_signed(device), to_signed(inode), shard_for(path), settles_at


def _find_repeated(keys: Sequence[Hashable]) -> set[int]:
    """Return the indexes of the keys that occur more than once."""
    if len(set(keys)) == len(keys):
        return set()
    count = Counter(keys)
    return {n for n, key in enumerate(keys) if count[key] > 1}
