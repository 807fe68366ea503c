"""Desired subscriptions of a push channel and the changes not yet sent to the server."""

from collections.abc import Collection, Iterable


class SubscriptionSet:
    """Set of at most `ids_max` ids. The changes of `pending_changes`, sent in order, give the server the same set."""

    def __init__(self, ids_max: int) -> None:
        self._ids_max = ids_max
        self._ids: set[str] = set()
        self._pending: dict[str, bool] = {}  # id: True to subscribe, False to unsubscribe

    def __contains__(self, asset_id: object) -> bool:
        return asset_id in self._ids

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, ids: Iterable[str]) -> None:
        """Subscribe to `ids` in order until the set is full."""
        for each in ids:
            if len(self._ids) >= self._ids_max:
                return
            if each not in self._ids:
                self._ids.add(each)
                self._record_change(each, is_subscribed=True)

    def discard(self, ids: Iterable[str]) -> None:
        """Unsubscribe from `ids`."""
        for each in ids:
            if each in self._ids:
                self._ids.remove(each)
                self._record_change(each, is_subscribed=False)

    def pending_changes(self, limit: int) -> tuple[Collection[str], Collection[str]]:
        """Remove and return at most `limit` unsent changes: ids to subscribe to and ids to unsubscribe from."""
        changes = list(self._pending.items())[:limit]
        for each, _ in changes:
            del self._pending[each]
        return [each for each, is_subscribed in changes if is_subscribed], [
            each for each, is_subscribed in changes if not is_subscribed
        ]

    def clear(self) -> None:
        """Forget everything: the connection ended, and with it the server's copy of the set."""
        self._ids.clear()
        self._pending.clear()

    def _record_change(self, asset_id: str, *, is_subscribed: bool) -> None:
        # An unsent opposite change cancels out: neither needs to be sent.
        if self._pending.pop(asset_id, is_subscribed) is is_subscribed:
            self._pending[asset_id] = is_subscribed
