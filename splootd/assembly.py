"""What takes memes to the library, put together in the order of the walk: the same in the daemon and in simulations."""

from dataclasses import dataclass

from splootd.bus import Bells
from splootd.clock import Clock
from splootd.config import Config, Paths
from splootd.core import timetable
from splootd.credentials import Credentials
from splootd.gate import Gate
from splootd.metrics import Traffic
from splootd.remote.api import Server
from splootd.remote.feed import Feed
from splootd.remote.inbox import Inbox
from splootd.remote.throttle import Throttle
from splootd.store.arrivals import Arrivals
from splootd.store.database import Database
from splootd.store.ledger import Ledger, server_id
from splootd.store.listing import Listing
from splootd.store.moves import Moves
from splootd.store.queue import Queue
from splootd.work.files import MemoryBudget
from splootd.work.intake import Intake
from splootd.work.tracker import Tracker
from splootd.work.uploader import Uploader


@dataclass(frozen=True, slots=True)
class Tables:
    """What the store holds for one server, part by part."""

    queue: Queue
    ledger: Ledger
    arrivals: Arrivals
    listing: Listing
    moves: Moves

    @classmethod
    async def of(cls, database: Database, server: str, *, boot: str, bells: Bells) -> "Tables":
        row = await server_id(database, server)
        return cls(
            queue=Queue(database, server_id=row, boot=boot, bells=bells),
            ledger=Ledger(database, server_id=row),
            arrivals=Arrivals(database, server_id=row, bells=bells),
            listing=Listing(database, server_id=row),
            moves=Moves(database, server_id=row, bells=bells),
        )


@dataclass(frozen=True, slots=True)
class Walk:
    """From a file to a searchable meme. The server is to be closed at the end."""

    credentials: Credentials
    server: Server
    gate: Gate
    traffic: Traffic
    inbox: Inbox
    intake: Intake
    uploader: Uploader
    feed: Feed
    tracker: Tracker

    @classmethod
    def over(cls, tables: Tables, config: Config, paths: Paths, *, clock: Clock, bells: Bells) -> "Walk":
        socket = paths.library_socket if config.is_local else None
        credentials = Credentials(paths.token_file, clock, token=config.token, token_command=config.token_command)
        server = Server(
            config.server,
            credentials=credentials,
            connections=config.connections,
            socket=socket,
            throttle=Throttle(timetable.parsed("" if config.is_local else config.limit), clock),
        )
        gate, traffic, inbox = Gate(clock, credentials), Traffic(clock), Inbox(bells.embedding)
        uploader = Uploader(
            tables.queue,
            tables.ledger,
            server,
            gate,
            budget=MemoryBudget(config.memory_bytes),
            clock=clock,
            bells=bells,
            traffic=traffic,
            settle_s=config.settle_s,
        )
        feed = Feed(
            config.server,
            inbox,
            credentials=credentials,
            clock=clock,
            allowed=gate.questions_allowed,
            socket=socket,
        )
        patience_s = config.embedding_patience_s
        return cls(
            credentials=credentials,
            server=server,
            gate=gate,
            traffic=traffic,
            inbox=inbox,
            intake=Intake(tables.arrivals, clock, settle_s=config.settle_s),
            uploader=uploader,
            feed=feed,
            tracker=Tracker(tables.queue, server, gate, clock, bells, inbox=inbox, patience_s=patience_s),
        )
