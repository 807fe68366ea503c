"""A user's machine, simulated: files, a daemon that can crash at any moment, a clock that can be set, and one Sploot.

The daemon is put together as in `splootd.daemon`, without the control socket, the watcher and the embedded library;
database and files are real. All of it runs on the clock of `simulated.py`, so that hours take a moment.
"""

import asyncio
import hashlib
import itertools
import logging
import os
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx
import structlog
from bad_luck import Faulty
from real_sploot import RealSploot
from scripted import Reply, Request
from simulated import EPOCH, Inline, JumpLoop, Network, SetClock, doors
from sploot_journal import Books, Journal
from walkkit import jpeg

from splootd.assembly import Tables, Walk
from splootd.bus import Bells
from splootd.config import Config, Paths
from splootd.core.item import Item
from splootd.core.lifecycle import ENDED
from splootd.errors import RequestError
from splootd.gate import Gate
from splootd.protocol import Add
from splootd.remote.verdict import CLERK_STATUS
from splootd.store.database import Database
from splootd.store.listing import Listing
from splootd.store.queue import Queue
from splootd.work.intake import Intake
from splootd.work.janitor import Janitor
from splootd.work.uploader import Uploader

T = TypeVar("T")

URL = "http://sploot.test"
SETTLE_S = 2.0
PATIENCE_S = 2 * 3600.0  # twice the longest wait that a server may ask for
STATUS_ROUTES = {"statuses", "assets", "asset"}
LINES_MAX = 4


@dataclass
class Life:
    """The daemon from a start to its end."""

    database: Database
    queue: Queue
    listing: Listing
    intake: Intake
    uploader: Uploader
    gate: Gate
    bells: Bells
    tasks: list[asyncio.Task[None]]
    asked_at: list[float] = field(default_factory=list)  # when the server was asked about embeddings


@dataclass
class World:
    """`requests` are those that reached the server, and `blamed` the uploads of a content that went wrong, by checksum.

    With `caches`, the user's token command prints the same token as long as it is good.
    A server that `offers` takes many questions and files in one request.
    """

    folder: Path
    chance: random.Random
    knows_twins: bool = True
    caches: bool = False
    offers: bool = False
    clock: SetClock = field(default_factory=SetClock)
    journal: Journal = field(default_factory=Journal)
    is_up: bool = True
    has_session: bool = True
    requests: list[Request] = field(default_factory=list)
    blamed: Counter[str] = field(default_factory=Counter)
    owed: dict[str, Add] = field(default_factory=dict)  # adds that have not returned, by key
    named: set[Path] = field(default_factory=set)  # paths of adds that have returned
    lives: int = 0
    connections: list[Inline] = field(default_factory=list)  # to the database
    network: Network = field(init=False)
    _life: Life | None = None
    _answering: set[asyncio.Task[Any]] = field(default_factory=set)
    _token: str | None = None
    _keys: Iterator[int] = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self.network = Network(self.handle, self.chance)
        self.start_server()

    @property
    def life(self) -> Life:
        assert self._life is not None, "the daemon does not run"
        return self._life

    @property
    def books(self) -> Books:
        return Books.of(self.journal.events)

    # The server.

    def start_server(self, **options: Any) -> None:
        """From its journal: what it had committed it has."""
        loop = asyncio.get_running_loop()
        now = lambda: EPOCH + loop.time()  # noqa: E731 - its clock is right whatever the user's machine believes
        self.sploot = RealSploot(self.journal, now=now, knows_twins=self.knows_twins, offers=self.offers, **options)
        self.faulty = Faulty(self.sploot, self.chance)
        self.is_up = True

    def crash_server(self) -> None:
        self.is_up = False
        self.cut_lines()

    def cut_lines(self) -> None:
        """What the server is working on is lost."""
        for task in list(self._answering):
            task.cancel()

    async def handle(self, request: Request) -> Reply:
        """One request over the network, and who is to blame for how it ended."""
        if not self.is_up:
            raise httpx.ConnectError("refused")
        task, at = asyncio.current_task(), asyncio.get_running_loop().time()
        assert task is not None
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)
        self.requests.append(request)
        fault = self.faulty.chosen(request.route)
        if request.route in ("upload", "bundle"):
            return await self._handle_upload(request, fault)
        reply = await self.faulty.answer(request, fault)
        if self._life is not None and request.route in STATUS_ROUTES and CLERK_STATUS not in reply.headers:
            self._life.asked_at.append(at)
        return reply

    async def _handle_upload(self, request: Request, fault: str) -> Reply:
        checksums = checksums_in(request)
        self.blamed.update(checksums)  # until it is known to have gone well
        reply = await self.faulty.answer(request, fault)
        if reply.cut is None:
            self.blamed.subtract(checksums if reply.status in (201, 409) else _well(checksums, reply.body))
        return reply

    async def token(self, _: str) -> str | None:
        """What the user's token command prints."""
        if not self.has_session or not self.is_up:
            return None
        if self._token is None or not self.caches or not self.sploot.is_good(self._token):
            self._token = self.sploot.issue()
        return self._token

    # The daemon.

    async def start(self) -> None:
        """As `daemon.serve` does it."""
        clock, bells = self.clock, Bells()
        self.lives += 1
        database = await Database.open(self.folder / "queue.db")
        config = Config(server=URL, settle_s=SETTLE_S, token_command="print a token")
        paths = Paths(self.folder / "config.toml", self.folder, self.folder)
        tables = await Tables.of(database, URL, boot=f"boot{self.lives}", bells=bells)
        walk = Walk.over(tables, config, paths, clock=clock, bells=bells)
        janitor = Janitor(database, self.folder / "backups", clock)
        await tables.queue.recover(now=clock.now())
        workers = (database, walk.intake, walk.uploader, walk.tracker, janitor)
        tasks = [asyncio.ensure_future(each.run()) for each in workers]
        self._life = Life(database, tables.queue, tables.listing, walk.intake, walk.uploader, walk.gate, bells, tasks)

    async def crash(self, *, finishes: bool = True) -> None:
        """The process is no more, from one moment to the next. The server `finishes` what it has been sent, or not."""
        for connection in self.connections:
            connection.kill()
        if not finishes:
            self.cut_lines()
        assert self.life.database._writing is not None
        await _ended([*self.life.tasks, self.life.database._writing])
        self._close_life()

    async def stop(self, *, finishes: bool = True) -> None:
        """As `daemon.serve` ends. What was given up on the way the server `finishes`, or not."""
        await self.life.uploader.drain()
        await _ended(self.life.tasks)
        if not finishes:
            self.cut_lines()
        await self.life.database.close()
        self._close_life()

    def _close_life(self) -> None:
        asked_at = sorted(self.life.asked_at)
        bursts = [at for at, tenth in zip(asked_at, asked_at[10:], strict=False) if tenth - at < 10.0]
        assert not bursts, f"more than one question about embeddings a second: from {bursts} on"
        assert self.network.lines_max <= LINES_MAX
        self.connections.clear()
        self._life = None

    # The user.

    def write(self, path: Path, content: bytes, *, age_s: float = 100.0) -> Path:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        at = self.clock.now() - age_s
        os.utime(path, (at, at))
        return path

    def files(self, *names: str) -> list[Path]:
        """Pictures in the user's folder, each with a content of its own."""
        return [self.write(self.folder / "memes" / name, jpeg(name)) for name in names]

    async def add(self, *paths: Path, **options: Any) -> None:
        """Return when the command has."""
        self.owe(Add(tuple(map(str, paths)), watch=False, **options))
        await self.deliver_owed()

    def owe(self, request: Add) -> None:
        """From now on the user wants it, whoever answers."""
        self.owed[f"key {next(self._keys)}"] = request

    async def deliver_owed(self) -> None:
        """As the command line does: what was not answered is asked for again, under the same key."""
        for key, request in list(self.owed.items()):
            try:
                await self.life.intake.add(request, key)
            except RequestError:  # the key was too old to be known, and the user is told: they ask anew
                self.owe(request)
            else:
                self.named.update(Path(path) for path in request.paths)
            del self.owed[key]

    # What has come of it.

    async def until(self, condition: Callable[[Sequence[Item]], bool]) -> Sequence[Item]:
        """Let time pass until the items are so; in vain when it never comes true."""
        items: Sequence[Item] = []
        try:
            async with asyncio.timeout(PATIENCE_S):
                while True:
                    ticket = self.life.bells.news.ticket()
                    items = await self.life.listing.items(limit=10_000)
                    if condition(items) and not await self._is_walking():
                        return items
                    await self.life.bells.news.wait(ticket, 60.0)
                    for task in self.life.tasks:
                        if task.done():
                            task.result()
        except TimeoutError:
            left = [item for item in items if item.state not in ENDED]
            raise AssertionError(f"after {PATIENCE_S:.0f} s with {self.life.gate}: {left or items}") from None

    async def until_ended(self) -> Sequence[Item]:
        return await self.until(lambda items: all(item.state in ENDED for item in items))

    async def _is_walking(self) -> bool:
        query = "SELECT EXISTS (SELECT 1 FROM roots WHERE done_at IS NULL)"
        return bool(await self.life.database.read(lambda connection: connection.execute(query).fetchone()[0]))


def checksums_in(request: Request) -> list[str]:
    """Of the contents in an upload."""
    boundary = request.headers["content-type"].partition("boundary=")[2].encode()
    files = [part for part in request.body.split(b"--" + boundary) if b'; filename="' in part]
    return [hashlib.sha256(file.partition(b"\r\n\r\n")[2][:-2]).hexdigest() for file in files]


def _well(checksums: Sequence[str], body: Any) -> list[str]:
    """Those of a bundle whose outcome says so."""
    outcomes = body.get("results", []) if isinstance(body, dict) else []
    return [each for each, outcome in zip(checksums, outcomes, strict=False) if outcome["status"] in (201, 409)]


def simulate(story: Callable[[World], Awaitable[T]], *, seed: int = 1, **options: Any) -> T:
    """Run `story` in a world of its own, on a clock of its own. The same seed gives the same story again."""
    chance = random.Random(seed)
    random.seed(seed)  # the daemon's own chance
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    folder = Path(tempfile.mkdtemp(prefix="world-", dir=_fast()))

    async def run() -> T:
        world = World(folder, chance, **options)
        with doors(chance, world.connections, world.token, world.network):
            return await story(world)

    try:
        with asyncio.Runner(loop_factory=lambda: JumpLoop(chance)) as runner:
            return runner.run(run())
    finally:
        structlog.reset_defaults()
        shutil.rmtree(folder, ignore_errors=True)


def _fast() -> str | None:
    """Memory, where there is some to be had as a folder."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


async def _ended(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
