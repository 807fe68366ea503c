"""What a push channel is to tell of, and what of that it has not been told to yet."""

from collections.abc import Collection, Iterable


class Watched:
    """At most `ids_max` ids. Whatever is taken by `say`, in order, leads the other end to the same set."""

    def __init__(self, ids_max: int) -> None:
        self._ids_max = ids_max
        self._ids: set[str] = set()
        self._unsaid: dict[str, bool] = {}  # id to whether it is watched

    def __contains__(self, asset_id: object) -> bool:
        return asset_id in self._ids

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, ids: Iterable[str]) -> None:
        """Watch those of `ids` for which there is room, the first ones first."""
        for each in ids:
            if len(self._ids) >= self._ids_max:
                return
            if each not in self._ids:
                self._ids.add(each)
                self._note(each, is_watched=True)

    def discard(self, ids: Iterable[str]) -> None:
        """Watch these no longer."""
        for each in ids:
            if each in self._ids:
                self._ids.remove(each)
                self._note(each, is_watched=False)

    def say(self, limit: int) -> tuple[Collection[str], Collection[str]]:
        """At most `limit` ids that the other end does not know about yet: to subscribe to, and to unsubscribe from."""
        said = list(self._unsaid.items())[:limit]
        for each, _ in said:
            del self._unsaid[each]
        return [each for each, is_watched in said if is_watched], [each for each, is_watched in said if not is_watched]

    def clear(self) -> None:
        """The other end is gone, and with it all that was said."""
        self._ids.clear()
        self._unsaid.clear()

    def _note(self, asset_id: str, *, is_watched: bool) -> None:
        if self._unsaid.pop(asset_id, is_watched) is is_watched:  # else nothing was said, and nothing need be
            self._unsaid[asset_id] = is_watched
