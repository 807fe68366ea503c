"""The parts of the daemon that requests are about, in one hand."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from splootd.bus import Bells, Bus
from splootd.clock import Clock
from splootd.config import Config
from splootd.core.backlog import Backlog
from splootd.credentials import Credentials
from splootd.gate import Gate
from splootd.metrics import Traffic
from splootd.metrics.memory import Memory
from splootd.protocol import Need
from splootd.remote.api import Server
from splootd.remote.inbox import Inbox
from splootd.store.arrivals import Arrivals
from splootd.store.database import Database
from splootd.store.ledger import Ledger
from splootd.store.listing import Listing
from splootd.store.moves import Moves
from splootd.store.queue import Queue
from splootd.work.aftercare import Aftercare
from splootd.work.intake import Intake
from splootd.work.watcher import Watcher


class Page(Protocol):
    """The page in a browser, as requests know it."""

    @property
    def origin(self) -> str | None:
        """`http://HOST:PORT`, None while its door has never been opened."""

    async def address(self, *, reset: bool, asset_id: str | None) -> str:
        """Where a browser may enter, once and soon. RequestError when the door cannot be opened."""


@dataclass(frozen=True, slots=True)
class Parts:
    """`shutdown` begins the end; `more_needs` adds to what only the user can mend."""

    boot: str
    config: Config
    clock: Clock
    bells: Bells
    bus: Bus
    listing: Listing
    queue: Queue
    arrivals: Arrivals
    intake: Intake
    watcher: Watcher
    server: Server
    inbox: Inbox
    database: Database
    ledger: Ledger
    moves: Moves
    aftercare: Aftercare
    gate: Gate
    traffic: Traffic
    memory: Memory
    backlog: Backlog
    credentials: Credentials
    page: Page
    shutdown: Callable[[], None]
    more_needs: Callable[[], Sequence[Need]] = tuple
