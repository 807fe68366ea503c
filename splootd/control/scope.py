"""Which part of the news one listener wants."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Scope:
    """All news, or that of one item, or of what lies below one folder.

    Transfers are known by their path: `path` is where the item was when its listener came.
    """

    folder: str | None = None
    item: int | None = None
    path: str | None = None

    def wants(self, entry: dict[str, Any]) -> bool:
        """Whether `entry`, one change of an item, is in it."""
        return self.item in (None, entry["item"]) and self._is_below(entry["path"])

    def of(self, transfers: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
        """Those of the `transfers` that are in it."""
        return [each for each in transfers if self.path in (None, each["path"]) and self._is_below(each["path"])]

    def _is_below(self, path: str) -> bool:
        return self.folder is None or path.startswith(f"{self.folder.rstrip('/')}/")


EVERYTHING = Scope()
