"""A model of the queue in a few lists. The real queue must agree with it after any sequence of operations."""

from dataclasses import dataclass, field

from splootd.core.item import Priority, State, Version, shard_for
from splootd.store.upsert import UpsertResult


@dataclass
class Row:
    """One item."""

    id: int
    path: bytes
    version: Version
    priority: Priority
    added_at: float
    next_at: float | None
    shard: int
    state: State = State.PENDING
    latest: bool = True
    attempts: int = 0
    lease: str | None = None
    accepted_at: float | None = None

    def seen(self) -> tuple[object, ...]:
        """Return the values that both must agree on."""
        accepted_at = self.accepted_at if self.state is State.EMBEDDING else None
        return (
            self.id, self.path, self.version, self.priority, self.added_at, self.next_at, self.shard, self.state,
            self.latest, self.attempts, self.lease, accepted_at,
        )  # fmt: skip


@dataclass
class Model:
    """The model and the disk that it sees."""

    rows: list[Row] = field(default_factory=list)
    disk: dict[bytes, Version] = field(default_factory=dict)

    # Enqueueing.

    def enqueue(self, path: bytes, priority: Priority, next_at: float | None, now: float) -> tuple[UpsertResult, int]:
        of = self.disk[path]
        there = self._at(path)
        if there and there.version == of:
            return self._known(there, priority, next_at, UpsertResult.KNOWN)
        moved = [row for row in self.rows if row.latest and row.version == of and self.disk.get(row.path) != of]
        if moved:
            if there:
                self._supersede(there)
            moved[0].path = path
            return self._known(moved[0], priority, next_at, UpsertResult.RENAMED)
        if there and there.state is State.UPLOADING:
            return UpsertResult.KNOWN, there.id
        if there and there.state is State.PENDING:
            there.version, there.next_at, there.attempts = of, next_at, 0
            return UpsertResult.CHANGED, there.id
        if there:
            self._supersede(there)
        row = Row(len(self.rows) + 1, path, of, priority, now, next_at, shard_for(path))
        self.rows.append(row)
        return (UpsertResult.CHANGED if there else UpsertResult.QUEUED), row.id

    def _at(self, path: bytes) -> Row | None:
        return next((row for row in self.rows if row.latest and row.path == path), None)

    def _known(
        self, row: Row, priority: Priority, next_at: float | None, outcome: UpsertResult
    ) -> tuple[UpsertResult, int]:
        if row.state is State.MISSING:
            row.state, row.priority, row.attempts, row.next_at = State.PENDING, priority, 0, next_at
            outcome = UpsertResult.REQUEUED if outcome is UpsertResult.KNOWN else outcome
        return outcome, row.id

    def _supersede(self, row: Row) -> None:
        row.latest = False
        if row.state in (State.PENDING, State.FAILED):
            row.state = State.MISSING if row.state is State.PENDING else State.SKIPPED
            row.next_at = None

    # Claims and due times.

    def claimable(self, shard: int | None, chance: float) -> list[Row]:
        """Return the claimable rows in their order. Without a shard only the urgent ones."""
        order = [Priority.URGENT, Priority.NORMAL, Priority.BACKGROUND]
        if chance >= 0.8:
            order = [Priority.URGENT, Priority.BACKGROUND, Priority.NORMAL]
        rows = [
            row
            for row in self.rows
            if row.state is State.PENDING
            and row.next_at is None
            and (row.priority is Priority.URGENT if shard is None else row.shard == shard)
        ]
        return sorted(rows, key=lambda row: (order.index(row.priority), row.added_at, row.id))

    def make_due(self, now: float) -> int:
        due = [row for row in self.delayed() if row.next_at is not None and row.next_at <= now]
        for row in due:
            row.next_at = None
        return len(due)

    def delayed(self) -> list[Row]:
        return [row for row in self.rows if row.state is State.PENDING and row.next_at is not None]

    def release_stale(self, instance_id: str) -> int:
        stale = [row for row in self.rows if row.lease and not row.lease.startswith(f"{instance_id}:")]
        for row in stale:
            self._release(row, None)
        return len(stale)

    # Completions.

    def leased(self, item_id: int, lease: str) -> Row | None:
        row = self.rows[item_id - 1]
        return row if row.lease == lease else None

    def accept(self, row: Row, *, embedded: bool, now: float) -> None:
        row.lease, row.accepted_at = None, now
        row.state, row.next_at = (State.READY, None) if embedded else (State.EMBEDDING, now)

    def snooze(self, row: Row, next_at: float | None, *, counts: bool = False) -> None:
        row.attempts += counts and row.latest
        self._release(row, next_at)

    def discard(self, row: Row) -> None:
        row.attempts += row.latest
        row.state, row.lease = (State.FAILED if row.latest else State.MISSING), None

    def file_missing(self, row: Row, path: bytes) -> None:
        if row.path != path and row.latest:
            self._release(row, None)
        else:
            row.state, row.lease = State.MISSING, None

    def skip(self, row: Row) -> None:
        row.state, row.lease = State.SKIPPED, None

    def _release(self, row: Row, next_at: float | None) -> None:
        row.lease = None
        row.state, row.next_at = (State.PENDING, next_at) if row.latest else (State.MISSING, None)

    # Embeddings and commands of the user.

    def due_embeddings(self, now: float) -> list[int]:
        rows = [
            row for row in self.rows if row.state is State.EMBEDDING and row.next_at is not None and row.next_at <= now
        ]
        return [row.id for row in sorted(rows, key=lambda row: (row.accepted_at or 0.0, row.id))]

    def end_embedding(self, item_id: int, state: State) -> None:
        row = self.rows[item_id - 1]
        if row.state is State.EMBEDDING:
            row.state, row.next_at = state, None
            if state is State.FAILED and not row.latest:
                row.state = State.SKIPPED

    def schedule_poll(self, item_id: int, at: float) -> None:
        row = self.rows[item_id - 1]
        if row.state is State.EMBEDDING:
            row.next_at = at

    def requeue(self, rows: list[Row]) -> list[int]:
        requeued = [row for row in rows if row.latest and row.state in (State.FAILED, State.MISSING, State.SKIPPED)]
        for row in requeued:
            row.state, row.priority, row.attempts, row.next_at = State.PENDING, Priority.URGENT, 0, None
        return [row.id for row in requeued]

    def bump(self, item_id: int) -> list[int]:
        row = self.rows[item_id - 1]
        if row.state is not State.PENDING:
            return []
        row.priority, row.next_at = Priority.URGENT, None
        return [item_id]

    def forget(self, item_id: int) -> list[int]:
        row = self.rows[item_id - 1]
        if row.state not in (State.PENDING, State.FAILED, State.MISSING):
            return []
        row.state, row.next_at = State.SKIPPED, None
        return [item_id]

    def refund_attempt(self, item_id: int) -> None:
        row = self.rows[item_id - 1]
        if row.state is State.PENDING and row.attempts:
            row.attempts -= 1
