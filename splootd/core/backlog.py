"""How many uploads at once are polite towards a server that still works on what it has got."""

BACKLOG_LARGE = 200  # embeddings outstanding: minutes of work for any server
LOOK_INTERVAL_S = 10.0


class Backlog:
    """One upload fewer after every look at which a large backlog has grown, one more after any other look.

    It never starves the server: uploads are only slowed while it has minutes of work in hand, and then what it makes
    searchable per second does not depend on them.
    """

    def __init__(self, lanes_max: int) -> None:
        self.lanes_max = lanes_max
        self.lanes = lanes_max
        self._outstanding = 0

    def __repr__(self) -> str:
        return f"Backlog({self._outstanding} outstanding, {self.lanes} of {self.lanes_max} lanes)"

    def seen(self, outstanding: int) -> int:
        """So many embeddings are outstanding now. Returns how many uploads at once that allows, at least 1."""
        is_growing = outstanding > BACKLOG_LARGE and outstanding > self._outstanding
        self._outstanding = outstanding
        self.lanes = max(1, self.lanes - 1) if is_growing else min(self.lanes_max, self.lanes + 1)
        return self.lanes
