"""Log the state changes of items from the event bus, and record embedding times."""

import os
from collections.abc import Mapping

from splootd.core.error_code import ErrorCode
from splootd.core.item import State
from splootd.event_bus import EventBus
from splootd.logs import get_logger, is_debug_enabled
from splootd.metrics import MetricsCollector
from splootd.store.read_queries import ItemEvent

IDLE_TIMEOUT_S = 3600.0
LOG_LEVELS: Mapping[State, str] = {
    State.PENDING: "debug",
    State.UPLOADING: "debug",
    State.EMBEDDING: "debug",
    State.READY: "info",
    State.FAILED: "warning",
    State.MISSING: "info",
    State.SKIPPED: "info",
}


class EventLogger:
    """Writes one log line per state change. A retry is logged at level info, with its error code and message."""

    def __init__(self, bus: EventBus, metrics: MetricsCollector) -> None:
        self._bus = bus
        self._metrics = metrics
        self._log = get_logger("queue")

    async def run(self) -> None:
        """Log events until cancelled."""
        with self._bus.subscribe(is_live=False) as subscriber:
            while True:
                events, dropped = await subscriber.receive(IDLE_TIMEOUT_S)
                for event in events:
                    self.on_event(event)
                if dropped:
                    self._log.warning("events dropped from the log", count=dropped)

    def on_event(self, event: ItemEvent) -> None:
        """Log one event, and record what it says about the embedding."""
        if event.embedding_s is not None:
            self._metrics.embedding_s.observe(event.embedding_s)
        if event.state is State.FAILED and event.error_code == ErrorCode.EMBEDDING_FAILED:
            self._metrics.errors[ErrorCode.EMBEDDING_FAILED] += 1
        level = "info" if event.state is State.PENDING and event.error_code is not None else LOG_LEVELS[event.state]
        if level == "debug" and not is_debug_enabled():
            return
        has_error = event.error_code is not None and event.state is not State.UPLOADING
        fields = {
            "error_code": event.error_code if has_error else None,
            "error_message": event.error_message if has_error else None,
            "embedding_seconds": event.embedding_s,
        }
        given = {name: value for name, value in fields.items() if value is not None}
        getattr(self._log, level)(event.state.value, item=event.item_id, path=os.fsdecode(event.path), **given)
