"""Log the state changes of items from the event bus, and record embedding times."""

from collections.abc import Mapping
from typing import Any

from splootd.core.error_code import ErrorCode
from splootd.core.item import State
from splootd.event_bus import EventBus
from splootd.logs import get_logger
from splootd.metrics import MetricsCollector

IDLE_TIMEOUT_S = 3600.0
LOGGED_FIELDS = ("error_code", "error_message", "embedding_seconds")
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
        with self._bus.subscribe() as subscriber:
            while True:
                events, dropped = await subscriber.receive(IDLE_TIMEOUT_S)
                for event in events:
                    self.on_event(event)
                if dropped:
                    self._log.warning("events dropped from the log", count=dropped)

    def on_event(self, event: Mapping[str, Any]) -> None:
        """Log one event, as made by `control.serializers.event_to_dict`."""
        if "state" not in event:
            return
        state = State(event["state"])
        fields = {name: event[name] for name in LOGGED_FIELDS if event.get(name) is not None}
        if "embedding_seconds" in fields:
            self._metrics.embedding_s.observe(fields["embedding_seconds"])
        if fields.get("error_code") == ErrorCode.EMBEDDING_FAILED and state is State.FAILED:
            self._metrics.errors[ErrorCode.EMBEDDING_FAILED] += 1
        level = "info" if "error_code" in fields and state is State.PENDING else LOG_LEVELS[state]
        getattr(self._log, level)(state.value, item=event["item"], path=event["path"], **fields)
