"""News of embeddings within this process: who waits for an asset hears when it has ended, well or not.

News is a hint, the database is the truth: whoever is told reads again. Between processes, a database or a message
broker takes this place behind the same two calls.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterator


class Notifier:
    def __init__(self) -> None:
        self._waiting: dict[str, set[asyncio.Event]] = {}
        self._hearing: set[Callable[[str], None]] = set()

    def publish(self, asset_id: str) -> None:
        """Tell all who wait that this asset's embedding has ended."""
        for event in self._waiting.get(asset_id, ()):
            event.set()
        for told in self._hearing:
            told(asset_id)

    @contextlib.contextmanager
    def subscribe(self, asset_id: str) -> Iterator[asyncio.Event]:
        """An event that is set by news of this asset. Subscribe first, then read the state: nothing falls between."""
        event = asyncio.Event()
        self._waiting.setdefault(asset_id, set()).add(event)
        try:
            yield event
        finally:
            self._waiting[asset_id].discard(event)
            if not self._waiting[asset_id]:
                del self._waiting[asset_id]

    @contextlib.contextmanager
    def hear(self, told: Callable[[str], None]) -> Iterator[None]:
        """Have `told` called with every asset there is news of. It must be quick, and not raise."""
        self._hearing.add(told)
        try:
            yield
        finally:
            self._hearing.discard(told)
