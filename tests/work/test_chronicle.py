"""Each step of each item is in the log once, and embeddings are measured by the way."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from splootd import logs
from splootd.bus import LISTENER_NEWS_MAX, Bus
from splootd.clock import Clock
from splootd.control.views import news
from splootd.core.item import State
from splootd.metrics import Traffic
from splootd.store.listing import Event
from splootd.work.chronicle import Chronicle


class Still(Clock):
    def monotonic(self) -> float:
        return 0.0


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Path]:
    file = tmp_path / "splootd.log"
    logs.set_up("debug", file)
    yield file
    logs.close()


def raw(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def lines(file: Path) -> list[tuple[Any, ...]]:
    return [(line["level"], line["event"], line.get("fault"), line.get("reason")) for line in raw(file)]


def event(
    state: State, *, fault: str | None = None, reason: str | None = None, accepted_at: float | None = None
) -> Any:
    return news(Event(1, 100.0, 7, state, b"/memes/\xff.png", fault, reason, accepted_at))


def test_a_step_is_a_line_with_its_level_and_reason(file: Path):
    chronicle = Chronicle(Bus(), Traffic(Still()))
    for each in (
        event(State.PENDING),
        event(State.UPLOADING, fault="unreachable", reason="of the try before"),
        event(State.PENDING, fault="unreachable", reason="no line"),
        event(State.EMBEDDING, accepted_at=100.0),
        event(State.READY, accepted_at=97.5),
        event(State.DEAD, fault="empty", reason="it is empty"),
    ):
        chronicle.hear(each)
    assert lines(file) == [
        ("debug", "pending", None, None),
        ("debug", "uploading", None, None),
        ("info", "pending", "unreachable", "no line"),
        ("debug", "embedding", None, None),
        ("info", "ready", None, None),
        ("warning", "dead", "empty", "it is empty"),
    ]


def test_the_time_to_searchable_is_measured_and_a_duplicate_has_none(file: Path):
    traffic = Traffic(Still())
    chronicle = Chronicle(Bus(), traffic)
    for each in (event(State.READY, accepted_at=97.5), event(State.READY, accepted_at=100.0), event(State.READY)):
        chronicle.hear(each)
    assert (traffic.embedding_s.count, traffic.embedding_s.sum) == (1, 2.5)


def test_an_embedding_that_failed_is_counted_with_the_faults(file: Path):
    traffic = Traffic(Still())
    Chronicle(Bus(), traffic).hear(event(State.DEAD, fault="embedding_failed", reason="it is torn"))
    assert traffic.faults == {"embedding_failed": 1}


async def test_it_listens_and_says_what_it_missed(file: Path):
    bus = Bus()
    writing = asyncio.create_task(Chronicle(bus, Traffic(Still())).run())
    await asyncio.sleep(0)
    for _ in range(LISTENER_NEWS_MAX + 3):
        bus.publish(event(State.READY))
    bus.publish({"seq": 0})
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert len(lines(file)) == LISTENER_NEWS_MAX + 1
    assert raw(file)[-1]["count"] == 4
