"""Write-settle debounce: delays a changed file until it stays unchanged for the settle time."""

from splootd.core.item import Version

SETTLE_S = 2.0
UNSETTLED_MAX = 20_000


class Settler:
    """Holds files back until size, mtime and inode have stayed the same for the settle time.

    It tracks at most `UNSETTLED_MAX` paths. Beyond that `observe` returns False, and the caller must rescan the folder.
    """

    def __init__(self, settle_s: float = SETTLE_S) -> None:
        self.settle_s = settle_s
        self._waiting: dict[bytes, tuple[Version, float]] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def observe(self, path: bytes, version: Version, *, now: float, age_s: float) -> bool:
        """Record a path seen at `now` (monotonic) that last changed `age_s` seconds ago. Return False when full."""
        known = self._waiting.get(path)
        if known is not None and known[0] == version:
            return True
        if known is None and len(self._waiting) >= UNSETTLED_MAX:
            return False
        # A wall clock that was set back makes the age negative. The file then settles for the whole time from now on.
        rested_s = min(max(age_s, 0.0), self.settle_s) if known is None else 0.0
        self._waiting[path] = (version, now + self.settle_s - rested_s)
        return True

    def forget(self, path: bytes) -> None:
        self._waiting.pop(path, None)

    def due(self, now: float) -> list[bytes]:
        """Return the settled paths. The caller stats each again: `observe` if it changed meanwhile, else `forget`.

        No event is proof that a writer has finished: the kernel reports changes, not the absence of later ones.
        """
        return [path for path, (_, at) in self._waiting.items() if at <= now]

    def version(self, path: bytes) -> Version | None:
        """Return the version that is settling, or None."""
        known = self._waiting.get(path)
        return known[0] if known else None

    def next_due(self) -> float | None:
        return min((at for _, at in self._waiting.values()), default=None)
