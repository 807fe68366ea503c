"""What becomes of one file that was found, inside one transaction: new, changed, renamed, back again, or known."""

import enum
import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from splootd.core.after import After
from splootd.core.fault import Fault
from splootd.core.item import Priority, State, Version, shard_of
from splootd.store.answers import SUPERSEDED
from splootd.store.queries import SQL
from splootd.store.rows import signed, version_of, version_values


@dataclass(frozen=True, slots=True)
class Candidate:
    """A file that was found. It is claimable at once, or from `settles_at` on."""

    path: bytes
    version: Version
    settles_at: float | None


@dataclass(frozen=True, slots=True)
class Origin:
    """Who found it, how it is to be sent (`force`: also what was removed on the server), and what follows."""

    add_id: int | None
    folder_id: int | None
    priority: Priority
    tags: tuple[str, ...]
    force: bool
    after: After | None = None


class Outcome(enum.StrEnum):
    QUEUED = "queued"
    CHANGED = "changed"  # a new version of a known path, queued
    RENAMED = "renamed"  # a known file in another place: only its path changed
    KNOWN = "known"
    REVIVED = "revived"  # it was gone, and is there again


@dataclass(frozen=True, slots=True)
class Arrival:
    """What became of a candidate, and the state of its item after it."""

    path: bytes
    outcome: Outcome
    item_id: int
    state: State

    @property
    def is_at_rest(self) -> bool:
        """Whether nothing was to be done about it, nor will be when it is found again, unchanged."""
        return self.outcome is Outcome.KNOWN and self.state in _LEFT_AS_IT_IS


_LEFT_AS_IT_IS = frozenset({State.READY, State.DEAD, State.SKIPPED})  # when such a file is found again, unchanged


class Offer:
    """One transaction's worth of candidates from one origin.

    `still_there(path, version)` looks at the disk: whether that very file is still at that path. It is asked only about
    files whose inode, size and times a candidate has, to tell a rename from a hard link.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        origin: Origin,
        *,
        server_id: int,
        still_there: Callable[[bytes, Version], bool],
        now: float,
    ) -> None:
        self._connection = connection
        self._origin = origin
        self._still_there = still_there
        self._server_id = server_id
        self._values = {
            "server_id": server_id,
            "add_id": origin.add_id,
            "folder_id": origin.folder_id,
            "priority": origin.priority,
            "tags": json.dumps(origin.tags) if origin.tags else "[]",
            "force": origin.force,
            "after": origin.after and origin.after.word,
            "now": now,
        }

    def place_all(self, candidates: Sequence[Candidate]) -> list[Arrival]:
        """Place them, each as if it came alone and in this order.

        Most are as they were, or simply new: the latter are inserted by one statement. As none of these has its path
        or its inode in common with another candidate, it does not matter which of them comes first.
        """
        if len(candidates) == 1:
            return [self.place(candidates[0])]
        doubled = _doubled([each.path for each in candidates])
        doubled |= _doubled([(each.version.device, each.version.inode) for each in candidates])
        placed: dict[int, Arrival] = {}
        unknown: list[int] = []
        for n, candidate in enumerate(candidates):
            if n not in doubled:
                row = self._connection.execute(SQL["version_at_path"], (self._server_id, candidate.path)).fetchone()
                if row is None:
                    unknown.append(n)
                elif self._is_unchanged(row, candidate.version):
                    placed[n] = Arrival(candidate.path, Outcome.KNOWN, row[0], State(row[1]))
        if len(unknown) > 1:
            placed |= self._insert_new({n: candidates[n] for n in unknown})
        return [placed.get(n) or self._place_by_rule(candidate) for n, candidate in enumerate(candidates)]

    def _insert_new(self, candidates: Mapping[int, Candidate]) -> dict[int, Arrival]:
        """Those whose inodes are new too, by their number."""
        number_at = {candidate.path: n for n, candidate in candidates.items()}
        self._connection.executemany(SQL["stage_found"], map(_staged, candidates.values()))
        self._run("unstage_former")
        inserted = self._run("insert_found")
        self._run("clear_found")
        return {number_at[path]: Arrival(path, Outcome.QUEUED, item_id, State.PENDING) for path, item_id in inserted}

    def _is_unchanged(self, row: sqlite3.Row, version: Version) -> bool:
        """Whether a file is just as its row says, and nothing needs to be written."""
        _item_id, state, folder_id, size, mtime_ns, device, inode = row
        if self._origin.force or self._origin.after is not None or state not in _LEFT_AS_IT_IS:
            return False
        is_at_home = folder_id is not None or self._origin.folder_id is None
        is_same = size == version.size and mtime_ns == version.mtime_ns and inode == signed(version.inode)
        return is_at_home and is_same and device == signed(version.device)

    def place(self, candidate: Candidate) -> Arrival:
        """Place one. Most that come alone are new as well, and one question tells."""
        version = candidate.version
        values = (self._server_id, candidate.path, signed(version.device), signed(version.inode))
        if self._connection.execute(SQL["is_known"], values).fetchone() is None:
            return self._insert(candidate, Outcome.QUEUED)
        return self._place_by_rule(candidate)

    def _place_by_rule(self, candidate: Candidate) -> Arrival:
        """The rules, in their order: the very file at its path, the same file moved, another version, a new file."""
        row = self._one("latest_at_path", path=candidate.path)
        if row is not None and candidate.version.is_still(version_of(row)):
            if candidate.version != version_of(row):
                self._run("renumber", id=row["id"], **version_values(candidate.version))
            return self._same(row, candidate, Outcome.KNOWN)
        moved = self._moved(candidate)
        if moved is not None:
            if row is not None:
                self._supersede(row)
            self._run("rename", id=moved["id"], path=candidate.path)
            return self._same(moved, candidate, Outcome.RENAMED)
        if row is not None:
            return self._other_version(row, candidate)
        return self._insert(candidate, Outcome.QUEUED)

    def _same(self, row: sqlite3.Row, candidate: Candidate, outcome: Outcome) -> Arrival:
        """The file of this row, unchanged: it is left as it is, unless it was given up for lost, or is to be forced."""
        state = State(row["state"])
        if self._origin.force and self._may_be_missing(row):
            self._supersede(row)
            return self._insert(candidate, Outcome.QUEUED)
        if state is State.GONE:
            self._run("come_back", id=row["id"], next_at=candidate.settles_at)
            outcome = Outcome.REVIVED if outcome is Outcome.KNOWN else outcome
            state = State.PENDING
        if row["folder_id"] is None and self._origin.folder_id is not None:
            self._run("join_folder", id=row["id"])
        if self._origin.add_id is not None:
            self._run("join_add", id=row["id"])
            if self._origin.after is not None:
                self._run("wish", id=row["id"])
        return Arrival(candidate.path, outcome, row["id"], state)

    def _other_version(self, row: sqlite3.Row, candidate: Candidate) -> Arrival:
        state = State(row["state"])
        if state is State.UPLOADING:  # its lane looks at the file again before it answers
            return Arrival(candidate.path, Outcome.KNOWN, row["id"], state)
        if state is State.PENDING:
            version = version_values(candidate.version)
            self._run("revise", id=row["id"], path=candidate.path, next_at=candidate.settles_at, **version)
            return Arrival(candidate.path, Outcome.CHANGED, row["id"], state)
        self._supersede(row)
        return self._insert(candidate, Outcome.CHANGED)

    def _insert(self, candidate: Candidate, outcome: Outcome) -> Arrival:
        rows = self._run(
            "insert_item",
            path=candidate.path,
            shard=shard_of(candidate.path),
            next_at=candidate.settles_at,
            **version_values(candidate.version),
        )
        return Arrival(candidate.path, outcome, rows[0][0], State.PENDING)

    def _supersede(self, row: sqlite3.Row) -> None:
        self._run("supersede", id=row["id"], superseded=SUPERSEDED)

    def _moved(self, candidate: Candidate) -> sqlite3.Row | None:
        """The row of this file at a path where it no longer is. While it is still there, this is a hard link to it."""
        for row in self._run("former_places", **version_values(candidate.version)):
            if not self._still_there(row["path"], candidate.version):
                return row
        return None

    @staticmethod
    def _may_be_missing(row: sqlite3.Row) -> bool:
        """Whether the library had it, and may not have it any more. It is asked before anything is sent."""
        removed = (State.SKIPPED, Fault.REMOVED)
        to_be_removed = (State.DEAD, Fault.EMBEDDING_FAILED)  # by the user, who was told to do so
        return row["state"] == State.READY or (row["state"], row["fault"]) in (removed, to_be_removed)

    def _one(self, query: str, **values: Any) -> sqlite3.Row | None:
        rows = self._run(query, **values)
        return rows[0] if rows else None

    def _run(self, query: str, **values: Any) -> list[sqlite3.Row]:
        every = {**self._values, **values}
        return self._connection.execute(SQL[query], every).fetchall()


def _staged(candidate: Candidate) -> tuple[Any, ...]:
    version = candidate.version
    return (
        candidate.path,
        version.size,
        version.mtime_ns,
        signed(version.device),
        signed(version.inode),
        shard_of(candidate.path),
        candidate.settles_at,
    )


def _doubled(keys: Sequence[Hashable]) -> set[int]:
    """Where those are that come more than once."""
    if len(set(keys)) == len(keys):
        return set()
    count = Counter(keys)
    return {n for n, key in enumerate(keys) if count[key] > 1}
