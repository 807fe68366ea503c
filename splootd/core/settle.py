"""When a file that was seen changing has come to rest."""

from splootd.core.item import Version

SETTLE_S = 2.0
UNSETTLED_MAX = 20_000


class Settler:
    """Holds back files until size, mtime and inode have stayed the same for the settle time.

    It remembers at most `UNSETTLED_MAX` paths; beyond that `saw` says no, and the caller must look at the folder again.
    """

    def __init__(self, settle_s: float = SETTLE_S) -> None:
        self.settle_s = settle_s
        self._waiting: dict[bytes, tuple[Version, float]] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def saw(self, path: bytes, version: Version, *, now: float, age_s: float) -> bool:
        """Note a path seen at `now` (monotonic) that last changed `age_s` seconds ago. False when there is no room."""
        known = self._waiting.get(path)
        if known is not None and known[0] == version:
            return True
        if known is None and len(self._waiting) >= UNSETTLED_MAX:
            return False
        # A clock that was set back makes the age negative; the file then rests the whole time from now on.
        rested_s = min(max(age_s, 0.0), self.settle_s) if known is None else 0.0
        self._waiting[path] = (version, now + self.settle_s - rested_s)
        return True

    def forget(self, path: bytes) -> None:
        self._waiting.pop(path, None)

    def due(self, now: float) -> list[bytes]:
        """Paths whose time has come. The caller looks at each again: `saw` if it changed meanwhile, else `forget`."""
        return [path for path, (_, at) in self._waiting.items() if at <= now]

    def version(self, path: bytes) -> Version | None:
        """The version that is being waited out."""
        known = self._waiting.get(path)
        return known[0] if known else None

    def next_due(self) -> float | None:
        return min((at for _, at in self._waiting.values()), default=None)
