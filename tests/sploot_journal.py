"""The journal of a test Sploot: its library, which survives a restart, and the counts that tests compare."""

import contextlib
import json
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Event = dict[str, Any]


class Journal:
    """Events in order, also in a file if one is given; a later server continues from the file."""

    def __init__(self, file: Path | None = None) -> None:
        self.events: list[Event] = list(read_journal(file)) if file and file.exists() else []
        self._descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600) if file else None

    def record(self, name: str, **fields: Any) -> None:
        """Append an event; it survives the end of this process."""
        event = {"event": name, **fields}
        self.events.append(event)
        if self._descriptor is not None:
            os.write(self._descriptor, json.dumps(event).encode() + b"\n")

    def commit(self, name: str, **fields: Any) -> None:
        """Append an event and fsync it; it survives a power failure."""
        self.record(name, **fields)
        if self._descriptor is not None:
            os.fsync(self._descriptor)

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)


def read_journal(file: Path) -> Iterable[Event]:
    """Return the complete events: a line that a kill cut off was never committed."""
    for line in file.read_bytes().split(b"\n"):
        with contextlib.suppress(ValueError):
            yield json.loads(line)


@dataclass(frozen=True)
class JournalSummary:
    """The counts that a test compares; by checksum how often a content was stored, already present, or failed."""

    created: Counter[str]
    conflicts: Counter[str]
    failures: Counter[str]
    removed: frozenset[str]
    uploads: int
    checks: int
    statuses: int
    concurrent: int  # uploads that began during another upload of the same bytes
    connections_max: int
    faults: Counter[str]

    @classmethod
    def of(cls, events: Iterable[Event]) -> "JournalSummary":
        events = list(events)

        def by_checksum(name: str) -> Counter[str]:
            return Counter(event["sha256"] for event in events if event["event"] == name)

        count = Counter(event["event"] for event in events)
        return cls(
            created=by_checksum("created"),
            conflicts=by_checksum("conflict"),
            failures=by_checksum("failed"),
            removed=frozenset(by_checksum("removed")),
            uploads=count["upload"],
            checks=count["check"],
            statuses=count["statuses"],
            concurrent=count["concurrent upload"],
            connections_max=max((event["count"] for event in events if event["event"] == "connections"), default=0),
            faults=Counter(event["fault"] for event in events if event["event"] == "fault"),
        )
