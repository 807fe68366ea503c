"""What a Sploot for tests writes down: its library, which outlives it, and the books that a test compares."""

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
    """Events in their order; in a file too, if there is one, from which a later server takes them up."""

    def __init__(self, file: Path | None = None) -> None:
        self.events: list[Event] = list(read_journal(file)) if file and file.exists() else []
        self._descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600) if file else None

    def note(self, what: str, **facts: Any) -> None:
        """Write it down; it outlives this process."""
        event = {"event": what, **facts}
        self.events.append(event)
        if self._descriptor is not None:
            os.write(self._descriptor, json.dumps(event).encode() + b"\n")

    def commit(self, what: str, **facts: Any) -> None:
        """Write it down; it outlives this machine's power."""
        self.note(what, **facts)
        if self._descriptor is not None:
            os.fsync(self._descriptor)

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)


def read_journal(file: Path) -> Iterable[Event]:
    """The events that were written whole: a line that a kill has torn was never committed."""
    for line in file.read_bytes().split(b"\n"):
        with contextlib.suppress(ValueError):
            yield json.loads(line)


@dataclass(frozen=True)
class Books:
    """What a test compares: by checksum how often a content was stored, found there already, and failed on."""

    created: Counter[str]
    conflicts: Counter[str]
    failures: Counter[str]
    removed: frozenset[str]
    uploads: int
    checks: int
    statuses: int
    at_once: int  # uploads that began while another one of the same bytes was at work
    lines_max: int
    faults: Counter[str]

    @classmethod
    def of(cls, events: Iterable[Event]) -> "Books":
        events = list(events)

        def by_checksum(what: str) -> Counter[str]:
            return Counter(event["sha256"] for event in events if event["event"] == what)

        count = Counter(event["event"] for event in events)
        return cls(
            created=by_checksum("created"),
            conflicts=by_checksum("conflict"),
            failures=by_checksum("failed"),
            removed=frozenset(by_checksum("removed")),
            uploads=count["upload"],
            checks=count["check"],
            statuses=count["statuses"],
            at_once=count["at once"],
            lines_max=max((event["lines"] for event in events if event["event"] == "lines"), default=0),
            faults=Counter(event["fault"] for event in events if event["event"] == "fault"),
        )
