"""Event filter of one subscriber."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from splootd.store.read_queries import ItemEvent


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Selects all events, those of one item, or those below one folder.

    Transfers have no item id, only a path: `path` is the path of the item at the time of the subscription.
    """

    folder: str | None = None
    item: int | None = None
    path: str | None = None

    def matches(self, event: ItemEvent) -> bool:
        """Return True when an item event matches the filter."""
        return self.item in (None, event.item_id) and (self.folder is None or self._is_below(os.fsdecode(event.path)))

    def filter_transfers(self, transfers: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the transfers that match the filter."""
        return [each for each in transfers if self.path in (None, each["path"]) and self._is_below(each["path"])]

    def _is_below(self, path: str) -> bool:
        return self.folder is None or path.startswith(f"{self.folder.rstrip('/')}/")


ALL_EVENTS = EventFilter()
