"""Listens to the news of the queue: writes each step of each item into the log, once, and measures embeddings."""

from collections.abc import Mapping
from typing import Any

from splootd.bus import Bus
from splootd.core.fault import Fault
from splootd.core.item import State
from splootd.logs import logger
from splootd.metrics import Traffic

QUIET_S = 3600.0
LEVELS: Mapping[State, str] = {
    State.PENDING: "debug",
    State.UPLOADING: "debug",
    State.EMBEDDING: "debug",
    State.READY: "info",
    State.DEAD: "warning",
    State.GONE: "info",
    State.SKIPPED: "info",
}


class Chronicle:
    """One line for each item that reaches a state. One that must wait again says so at level info, with the reason."""

    def __init__(self, bus: Bus, traffic: Traffic) -> None:
        self._bus = bus
        self._traffic = traffic
        self._log = logger("queue")

    async def run(self) -> None:
        with self._bus.listen() as listener:
            while True:
                entries, lost = await listener.take(QUIET_S)
                for entry in entries:
                    self.hear(entry)
                if lost:
                    self._log.warning("some steps are not in the log", count=lost)

    def hear(self, entry: Mapping[str, Any]) -> None:
        """One piece of news, as `control.views.news` gives it."""
        if "state" not in entry:
            return
        state = State(entry["state"])
        about = {name: entry[name] for name in ("fault", "reason", "embedded_s") if entry.get(name) is not None}
        if "embedded_s" in about:
            self._traffic.embedding_s.observe(about["embedded_s"])
        if about.get("fault") == Fault.EMBEDDING_FAILED and state is State.DEAD:
            self._traffic.faults[Fault.EMBEDDING_FAILED] += 1
        level = "info" if "fault" in about and state is State.PENDING else LEVELS[state]
        getattr(self._log, level)(state.value, item=entry["item"], path=entry["path"], **about)
