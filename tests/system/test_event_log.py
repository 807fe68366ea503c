"""Each state change of an item is logged once, and embedding times are recorded."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from splootd import logs
from splootd.clock import Clock
from splootd.core.item import State
from splootd.event_bus import SUBSCRIBER_EVENTS_MAX, EventBus
from splootd.metrics import MetricsCollector
from splootd.store.read_queries import ItemEvent
from splootd.system.event_log import EventLogger


class FrozenClock(Clock):
    def monotonic(self) -> float:
        return 0.0


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Path]:
    file = tmp_path / "splootd.log"
    logs.configure("debug", file)
    yield file
    logs.close()


def raw(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def lines(file: Path) -> list[tuple[Any, ...]]:
    return [(line["level"], line["event"], line.get("error_code"), line.get("error_message")) for line in raw(file)]


def event(
    state: State,
    *,
    error_code: str | None = None,
    error_message: str | None = None,
    accepted_at: float | None = None,
) -> ItemEvent:
    return ItemEvent(1, 100.0, 7, state, b"/memes/\xff.png", error_code, error_message, accepted_at)


def test_a_state_change_is_a_line_with_its_level_and_error(file: Path):
    event_logger = EventLogger(EventBus(), MetricsCollector(FrozenClock()))
    for each in (
        event(State.PENDING),
        event(State.UPLOADING, error_code="unreachable", error_message="of the previous attempt"),
        event(State.PENDING, error_code="unreachable", error_message="no connection"),
        event(State.EMBEDDING, accepted_at=100.0),
        event(State.READY, accepted_at=97.5),
        event(State.FAILED, error_code="empty", error_message="a.png is empty"),
    ):
        event_logger.on_event(each)
    assert lines(file) == [
        ("debug", "pending", None, None),
        ("debug", "uploading", None, None),
        ("info", "pending", "unreachable", "no connection"),
        ("debug", "embedding", None, None),
        ("info", "ready", None, None),
        ("warning", "failed", "empty", "a.png is empty"),
    ]


def test_the_time_to_searchable_is_recorded_and_a_duplicate_has_none(file: Path):
    metrics = MetricsCollector(FrozenClock())
    event_logger = EventLogger(EventBus(), metrics)
    for each in (event(State.READY, accepted_at=97.5), event(State.READY, accepted_at=100.0), event(State.READY)):
        event_logger.on_event(each)
    assert (metrics.embedding_s.count, metrics.embedding_s.sum) == (1, 2.5)
    assert [line.get("embedding_seconds") for line in raw(file)] == [2.5, None, None]


def test_a_failed_embedding_is_counted_as_an_error(file: Path):
    metrics = MetricsCollector(FrozenClock())
    failed = event(State.FAILED, error_code="embedding_failed", error_message="the image is damaged")
    EventLogger(EventBus(), metrics).on_event(failed)
    assert metrics.errors == {"embedding_failed": 1}


async def test_it_subscribes_and_logs_how_many_events_were_dropped(file: Path):
    bus = EventBus()
    logging = asyncio.create_task(EventLogger(bus, MetricsCollector(FrozenClock())).run())
    await asyncio.sleep(0)
    for _ in range(SUBSCRIBER_EVENTS_MAX + 4):
        bus.publish(event(State.READY))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    logging.cancel()
    with pytest.raises(asyncio.CancelledError):
        await logging
    assert len(lines(file)) == SUBSCRIBER_EVENTS_MAX + 1
    assert raw(file)[-1]["count"] == 4
