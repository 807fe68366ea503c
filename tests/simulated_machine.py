"""A simulated machine: files, a daemon that can crash at any moment, a clock that can be set, and one Sploot server.

The daemon is assembled as in `splootd.daemon`, without control socket, watcher and local server; database and files are
real. Everything runs on the clock of `simulated.py`, so that hours take a moment.
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
from fault_proxy import FaultProxy
from pipeline_fixtures import jpeg
from real_sploot import RealSploot
from scripted_sploot import Reply, Request
from simulated import EPOCH, InlineConnection, JumpLoop, Network, SetClock, patched_io
from sploot_journal import Journal, JournalSummary

from splootd.config import Config, Paths
from splootd.core.item import Item
from splootd.core.lifecycle import FINAL_STATES
from splootd.errors import RequestError
from splootd.event_bus import WakeSignals
from splootd.pipeline import Pipeline, Stores
from splootd.protocol import Add
from splootd.remote.client import CONTROL_READ_TIMEOUT_S
from splootd.remote.status_mapping import CLERK_STATUS_HEADER
from splootd.store.database import Database
from splootd.store.queue import Queue
from splootd.store.read_queries import ReadQueries
from splootd.system.janitor import Janitor
from splootd.upload.admission import AdmissionController
from splootd.upload.uploader import Uploader
from splootd.watch.importer import Importer

T = TypeVar("T")

URL = "http://sploot.test"
SETTLE_S = 2.0
WAIT_MAX_S = 2 * 3600.0  # twice the longest Retry-After that the daemon accepts
STATUS_ROUTES = {"statuses", "assets", "asset"}
CONNECTIONS_MAX = 4


@dataclass
class Instance:
    """One run of the daemon."""

    database: Database
    queue: Queue
    read_queries: ReadQueries
    importer: Importer
    uploader: Uploader
    admission: AdmissionController
    wake_signals: WakeSignals
    tasks: list[asyncio.Task[None]]
    polled_at: list[float] = field(default_factory=list)  # the times of embedding polls


@dataclass
class World:
    """The machine and the server. `requests` reached the server; `failed_uploads` counts failures by checksum.

    With `caches_token`, the token command prints the same token as long as it is valid. With
    `has_batch_api`, the server supports batch checks and bundles.
    """

    folder: Path
    chance: random.Random
    detects_duplicates: bool = True
    caches_token: bool = False
    has_batch_api: bool = False
    clock: SetClock = field(default_factory=SetClock)
    journal: Journal = field(default_factory=Journal)
    is_up: bool = True
    has_session: bool = True
    requests: list[Request] = field(default_factory=list)
    failed_uploads: Counter[str] = field(default_factory=Counter)
    pending_adds: dict[str, Add] = field(default_factory=dict)  # adds without a reply, by key
    added_paths: set[Path] = field(default_factory=set)  # paths of adds with a reply
    instances: int = 0
    connections: list[InlineConnection] = field(default_factory=list)  # database connections
    network: Network = field(init=False)
    _instance: Instance | None = None
    _answering: set[asyncio.Task[Any]] = field(default_factory=set)
    _token: str | None = None
    _keys: Iterator[int] = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self.network = Network(self.handle, self.chance)
        self.start_server()

    @property
    def instance(self) -> Instance:
        assert self._instance is not None, "the daemon is not running"
        return self._instance

    @property
    def summary(self) -> JournalSummary:
        return JournalSummary.of(self.journal.events)

    # The server.

    def start_server(self, **options: Any) -> None:
        """Start the server from its journal, with everything it had committed."""
        loop = asyncio.get_running_loop()
        now = lambda: EPOCH + loop.time()  # noqa: E731 - the clock of the server is not set
        self.sploot = RealSploot(
            self.journal,
            now=now,
            detects_duplicates=self.detects_duplicates,
            has_batch_api=self.has_batch_api,
            **options,
        )
        self.fault_proxy = FaultProxy(self.sploot, self.chance)
        self.is_up = True

    def crash_server(self) -> None:
        self.is_up = False
        self.drop_connections()

    def drop_connections(self) -> None:
        """Cancel all requests that the server is processing."""
        for task in list(self._answering):
            task.cancel()

    async def handle(self, request: Request) -> Reply:
        """Process one request and record its failure."""
        if not self.is_up:
            raise httpx.ConnectError("refused")
        task, at = asyncio.current_task(), asyncio.get_running_loop().time()
        assert task is not None
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)
        self.requests.append(request)
        fault = self.fault_proxy.choose_fault(request.route)
        if request.route in ("upload", "bundle"):
            return await self._handle_upload(request, fault, checksums_in(request))
        if request.target.endswith("/tags"):  # the last step of an upload that the server reports as a duplicate
            asset_id = request.target.split("/")[-2]
            owners = [each.sha256 for each in self.sploot.assets.values() if each.id == asset_id]
            return await self._handle_upload(request, fault, owners)
        reply = await self.fault_proxy.answer(request, fault)
        if self._instance is not None and request.route in STATUS_ROUTES and CLERK_STATUS_HEADER not in reply.headers:
            self._instance.polled_at.append(at)
        return reply

    async def _handle_upload(self, request: Request, fault: str, checksums: Sequence[str]) -> Reply:
        self.failed_uploads.update(checksums)  # until the upload has succeeded
        began = asyncio.get_running_loop().time()
        reply = await self.fault_proxy.answer(request, fault)
        if reply.cut is None and asyncio.get_running_loop().time() - began < CONTROL_READ_TIMEOUT_S:
            # The daemon takes another type for a failed upload: the page of a hotel's network, or plain text.
            is_json = "content-type" not in reply.headers
            is_stored = reply.status in (200, 201, 409) and request.route != "bundle" and is_json
            self.failed_uploads.subtract(checksums if is_stored else _stored_checksums(checksums, reply.body))
        return reply

    async def token(self, _: str) -> str | None:
        """Return the output of the token command."""
        if not self.has_session or not self.is_up:
            return None
        if self._token is None or not self.caches_token or not self.sploot.is_valid_token(self._token):
            self._token = self.sploot.issue()
        return self._token

    # The daemon.

    async def start(self) -> None:
        """Start the daemon as `daemon.serve` does."""
        clock, wake_signals = self.clock, WakeSignals()
        self.instances += 1
        database = await Database.open(self.folder / "queue.db")
        config = Config(server=URL, settle_s=SETTLE_S, token_command="print a token")
        paths = Paths(self.folder / "config.toml", self.folder, self.folder)
        stores = await Stores.open(database, URL, instance_id=f"instance{self.instances}", wake_signals=wake_signals)
        pipeline = Pipeline.build(stores, config, paths, clock=clock, wake_signals=wake_signals)
        janitor = Janitor(database, self.folder / "backups", clock)
        await stores.queue.release_stale(now=clock.now())
        workers = (database, pipeline.importer, pipeline.uploader, pipeline.tracker, janitor)
        tasks = [asyncio.ensure_future(each.run()) for each in workers]
        self._instance = Instance(
            database,
            stores.queue,
            stores.read_queries,
            pipeline.importer,
            pipeline.uploader,
            pipeline.admission,
            wake_signals,
            tasks,
        )

    async def crash(self, *, finishes: bool = True) -> None:
        """Kill the process. The server completes the requests that it has received if `finishes`."""
        for connection in self.connections:
            connection.kill()
        if not finishes:
            self.drop_connections()
        assert self.instance.database._writer_task is not None
        await _cancel_all([*self.instance.tasks, self.instance.database._writer_task])
        self._close_instance()

    async def stop(self, *, finishes: bool = True) -> None:
        """Stop the daemon as `daemon.serve` does. The server completes abandoned requests if `finishes`."""
        await self.instance.uploader.drain()
        await _cancel_all(self.instance.tasks)
        if not finishes:
            self.drop_connections()
        await self.instance.database.close()
        self._close_instance()

    def _close_instance(self) -> None:
        polled_at = sorted(self.instance.polled_at)
        bursts = [at for at, tenth in zip(polled_at, polled_at[10:], strict=False) if tenth - at < 10.0]
        assert not bursts, f"more than one embedding poll per second: from {bursts} on"
        assert self.network.connections_max <= CONNECTIONS_MAX
        self.connections.clear()
        self._instance = None

    # The user.

    def write(self, path: Path, content: bytes, *, age_s: float = 100.0) -> Path:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        at = self.clock.now() - age_s
        os.utime(path, (at, at))
        return path

    def files(self, *names: str, size: int = 0) -> list[Path]:
        """Create images of at least `size` bytes in the folder of the user, each with its own content."""
        return [self.write(self.folder / "memes" / name, jpeg(name, size)) for name in names]

    async def add(self, *paths: Path, **options: Any) -> None:
        """Run `sploot add` and wait for its reply."""
        self.submit(Add(tuple(map(str, paths)), watch=False, **options))
        await self.deliver_adds()

    def submit(self, request: Add) -> None:
        """Record a command that some instance must execute."""
        self.pending_adds[f"key {next(self._keys)}"] = request

    async def deliver_adds(self) -> None:
        """Send all commands without a reply again under their keys, as the command line does."""
        for key, request in list(self.pending_adds.items()):
            try:
                await self.instance.importer.add(request, key)
            except RequestError:  # the key has expired: the user repeats the command
                self.submit(request)
            else:
                self.added_paths.update(Path(path) for path in request.paths)
            del self.pending_adds[key]

    # The result.

    async def wait_until(self, condition: Callable[[Sequence[Item]], bool]) -> Sequence[Item]:
        """Let time pass until the items satisfy `condition`. Raises AssertionError after WAIT_MAX_S."""
        items: Sequence[Item] = []
        try:
            async with asyncio.timeout(WAIT_MAX_S):
                while True:
                    snapshot = self.instance.wake_signals.events.snapshot()
                    items = await self.instance.read_queries.items(limit=10_000)
                    if condition(items) and not await self._is_scanning():
                        return items
                    await self.instance.wake_signals.events.wait(snapshot, 60.0)
                    for task in self.instance.tasks:
                        if task.done():
                            task.result()
        except TimeoutError:
            unfinished = [item for item in items if item.state not in FINAL_STATES]
            raise AssertionError(
                f"after {WAIT_MAX_S:.0f} s with {self.instance.admission}: {unfinished or items}"
            ) from None

    async def wait_until_finished(self) -> Sequence[Item]:
        return await self.wait_until(lambda items: all(item.state in FINAL_STATES for item in items))

    async def _is_scanning(self) -> bool:
        query = "SELECT EXISTS (SELECT 1 FROM import_roots WHERE finished_at IS NULL)"
        return bool(await self.instance.database.read(lambda connection: connection.execute(query).fetchone()[0]))


def checksums_in(request: Request) -> list[str]:
    """Return the checksums of the contents in an upload."""
    boundary = request.headers["content-type"].partition("boundary=")[2].encode()
    files = [part for part in request.body.split(b"--" + boundary) if b'; filename="' in part]
    return [hashlib.sha256(file.partition(b"\r\n\r\n")[2][:-2]).hexdigest() for file in files]


def _stored_checksums(checksums: Sequence[str], body: Any) -> list[str]:
    """Return the checksums of a bundle that were stored."""
    outcomes = body.get("results", []) if isinstance(body, dict) else []
    return [each for each, outcome in zip(checksums, outcomes, strict=False) if outcome["status"] in (201, 409)]


def simulate(story: Callable[[World], Awaitable[T]], *, seed: int = 1, **options: Any) -> T:
    """Run `story` in a new world with a simulated clock. The same seed gives the same run."""
    chance = random.Random(seed)
    random.seed(seed)  # the random numbers of the daemon
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    folder = Path(tempfile.mkdtemp(prefix="world-", dir=_ram_folder()))

    async def run() -> T:
        world = World(folder, chance, **options)
        with patched_io(chance, world.connections, world.token, world.network):
            return await story(world)

    try:
        with asyncio.Runner(loop_factory=lambda: JumpLoop(chance)) as runner:
            return runner.run(run())
    finally:
        structlog.reset_defaults()
        shutil.rmtree(folder, ignore_errors=True)


def _ram_folder() -> str | None:
    """Return a folder in memory, if there is one."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


async def _cancel_all(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
