"""The queue as a few lists in memory: what the real one must agree with, whatever happens in whatever order."""

from dataclasses import dataclass, field

from splootd.core.item import Priority, State, Version, shard_of
from splootd.store.arrivals import Outcome


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
        """What both must agree on."""
        accepted_at = self.accepted_at if self.state is State.EMBEDDING else None
        return (
            self.id, self.path, self.version, self.priority, self.added_at, self.next_at, self.shard, self.state,
            self.latest, self.attempts, self.lease, accepted_at,
        )  # fmt: skip


@dataclass
class Model:
    rows: list[Row] = field(default_factory=list)
    disk: dict[bytes, Version] = field(default_factory=dict)

    # How things get in.

    def offer(self, path: bytes, priority: Priority, next_at: float | None, now: float) -> tuple[Outcome, int]:
        of = self.disk[path]
        there = self._at(path)
        if there and there.version == of:
            return self._known(there, priority, next_at, Outcome.KNOWN)
        moved = [row for row in self.rows if row.latest and row.version == of and self.disk.get(row.path) != of]
        if moved:
            if there:
                self._supersede(there)
            moved[0].path = path
            return self._known(moved[0], priority, next_at, Outcome.RENAMED)
        if there and there.state is State.UPLOADING:
            return Outcome.KNOWN, there.id
        if there and there.state is State.PENDING:
            there.version, there.next_at, there.attempts = of, next_at, 0
            return Outcome.CHANGED, there.id
        if there:
            self._supersede(there)
        row = Row(len(self.rows) + 1, path, of, priority, now, next_at, shard_of(path))
        self.rows.append(row)
        return (Outcome.CHANGED if there else Outcome.QUEUED), row.id

    def _at(self, path: bytes) -> Row | None:
        return next((row for row in self.rows if row.latest and row.path == path), None)

    def _known(self, row: Row, priority: Priority, next_at: float | None, outcome: Outcome) -> tuple[Outcome, int]:
        if row.state is State.GONE:
            row.state, row.priority, row.attempts, row.next_at = State.PENDING, priority, 0, next_at
            outcome = Outcome.REVIVED if outcome is Outcome.KNOWN else outcome
        return outcome, row.id

    def _supersede(self, row: Row) -> None:
        row.latest = False
        if row.state in (State.PENDING, State.DEAD):
            row.state = State.GONE if row.state is State.PENDING else State.SKIPPED
            row.next_at = None

    # Who is next.

    def claimable(self, shard: int | None, chance: float) -> list[Row]:
        """In the order in which they are to be claimed; of any shard, only the urgent ones."""
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

    def promote(self, now: float) -> int:
        due = [row for row in self.delayed() if row.next_at is not None and row.next_at <= now]
        for row in due:
            row.next_at = None
        return len(due)

    def delayed(self) -> list[Row]:
        return [row for row in self.rows if row.state is State.PENDING and row.next_at is not None]

    def recover(self, boot: str) -> int:
        lost = [row for row in self.rows if row.lease and not row.lease.startswith(f"{boot}:")]
        for row in lost:
            self._hand_back(row, None)
        return len(lost)

    # How it ended.

    def leased(self, item_id: int, lease: str) -> Row | None:
        row = self.rows[item_id - 1]
        return row if row.lease == lease else None

    def accept(self, row: Row, *, embedded: bool, now: float) -> None:
        row.lease, row.accepted_at = None, now
        row.state, row.next_at = (State.READY, None) if embedded else (State.EMBEDDING, now)

    def wait(self, row: Row, next_at: float | None, *, counts: bool = False) -> None:
        row.attempts += counts and row.latest
        self._hand_back(row, next_at)

    def bury(self, row: Row) -> None:
        row.attempts += row.latest
        row.state, row.lease = (State.DEAD if row.latest else State.GONE), None

    def vanish(self, row: Row, path: bytes) -> None:
        if row.path != path and row.latest:
            self._hand_back(row, None)
        else:
            row.state, row.lease = State.GONE, None

    def skip(self, row: Row) -> None:
        row.state, row.lease = State.SKIPPED, None

    def _hand_back(self, row: Row, next_at: float | None) -> None:
        row.lease = None
        row.state, row.next_at = (State.PENDING, next_at) if row.latest else (State.GONE, None)

    # What the server still works on, and what people wish.

    def due_embeddings(self, now: float) -> list[int]:
        rows = [
            row for row in self.rows if row.state is State.EMBEDDING and row.next_at is not None and row.next_at <= now
        ]
        return [row.id for row in sorted(rows, key=lambda row: (row.accepted_at or 0.0, row.id))]

    def end_embedding(self, item_id: int, state: State) -> None:
        row = self.rows[item_id - 1]
        if row.state is State.EMBEDDING:
            row.state, row.next_at = state, None
            if state is State.DEAD and not row.latest:
                row.state = State.SKIPPED

    def ask_again(self, item_id: int, at: float) -> None:
        row = self.rows[item_id - 1]
        if row.state is State.EMBEDDING:
            row.next_at = at

    def revive(self, rows: list[Row]) -> list[int]:
        revived = [row for row in rows if row.latest and row.state in (State.DEAD, State.GONE, State.SKIPPED)]
        for row in revived:
            row.state, row.priority, row.attempts, row.next_at = State.PENDING, Priority.URGENT, 0, None
        return [row.id for row in revived]

    def bump(self, item_id: int) -> list[int]:
        row = self.rows[item_id - 1]
        if row.state is not State.PENDING:
            return []
        row.priority, row.next_at = Priority.URGENT, None
        return [item_id]

    def forget(self, item_id: int) -> list[int]:
        row = self.rows[item_id - 1]
        if row.state not in (State.PENDING, State.DEAD, State.GONE):
            return []
        row.state, row.next_at = State.SKIPPED, None
        return [item_id]

    def pardon(self, item_id: int) -> None:
        row = self.rows[item_id - 1]
        if row.state is State.PENDING and row.attempts:
            row.attempts -= 1
