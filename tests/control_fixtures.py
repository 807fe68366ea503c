"""Fixtures: the control API over a real socket with a real store. Only the library server is a fake."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sploot.client import Client
from sploot.connection import Connection

from splootd.clock import Clock
from splootd.config import Config, Paths
from splootd.control.context import Context
from splootd.control.server import ControlServer, bind
from splootd.core.adaptive_concurrency import AdaptiveConcurrency
from splootd.core.limits import Limits
from splootd.core.timetable import Timetable
from splootd.credentials import Credentials
from splootd.embeddings.push_subscriptions import PushSubscriptions
from splootd.event_bus import EventBus, WakeSignals
from splootd.metrics import MetricsCollector
from splootd.metrics.api_calls import ApiCalls
from splootd.metrics.rss import RssSamples
from splootd.post_upload.post_upload import PostUploadProcessor
from splootd.post_upload.trash import Trash
from splootd.protocol import (
    Add,
    AddReply,
    Request,
)
from splootd.remote.bandwidth_limiter import BandwidthLimiter
from splootd.remote.client import Match, SplootClient
from splootd.remote.image_proxy import LOCAL_SERVER_URL, ImageProxy
from splootd.remote.library_client import LibraryClient
from splootd.remote.silence import Silence
from splootd.store.accounts import open_account
from splootd.store.database import Database
from splootd.store.folders import FolderStore
from splootd.store.idempotency import IdempotencyStore
from splootd.store.imports import ImportStore
from splootd.store.ledger import Ledger
from splootd.store.move_journal import MoveJournal
from splootd.store.queue import Queue
from splootd.store.read_queries import ReadQueries
from splootd.store.settings import SettingsStore
from splootd.upload.admission import AdmissionController
from splootd.watch.importer import Importer
from splootd.watch.watcher import Watcher
from splootd.web.server import WebServer, build_library_routes

LIMIT_S = 20
PNG = b"\x89PNG\r\n\x1a\n"


SEARCH_MIN = 10  # a Sploot server returns at least as many


class Library:
    """Fake server with fixed limits and search results."""

    def __init__(self) -> None:
        self.matches: list[Match] = []
        self.nearest: list[Match] = []
        self.error: Exception | None = None
        self.calls = ApiCalls()
        self.bandwidth_limiter = BandwidthLimiter(Timetable(), Clock())
        self.last_limits: Limits | None = None
        self.proxy = None
        self.silence = Silence()
        self.silence.has_responded = True

    async def limits(self) -> Limits:
        return Limits(10_000_000, frozenset({"image/png"}))

    async def search(self, text: str, limit: int, filters: Any = None) -> tuple[list[Match], list[Match]]:
        if self.error:
            raise self.error
        return self.matches[: max(limit, SEARCH_MIN)], self.nearest


@dataclass
class ControlApi:
    """A running control API and its dependencies."""

    path: Path
    folder: Path
    context: Context
    server: ControlServer
    library: Library
    web_ui: WebServer
    shutdowns: list[str] = field(default_factory=list)

    async def request(self, request: Request, reply: type[Any]) -> Any:
        def send() -> Any:
            client = Client(lambda: Connection(self.path), print)
            try:
                return client.request(request, reply)
            finally:
                client.close()

        return await asyncio.to_thread(send)

    async def raw(self, message: bytes) -> bytes:
        """Send bytes and return everything up to the end of the connection."""
        reader, writer = await asyncio.open_unix_connection(self.path)
        async with asyncio.timeout(LIMIT_S):
            writer.write(message)
            try:
                return await reader.read()
            except ConnectionResetError:
                return b""
            finally:
                writer.close()

    async def http(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, dict[str, str], Any]:
        """Send a request without validation; return status, headers and JSON."""
        lines = [f"{method} {path} HTTP/1.1", "Host: x", "Connection: close", f"Content-Length: {len(body)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        return parse(await self.raw("\r\n".join([*lines, "", ""]).encode() + body))

    async def add(self, *names: str) -> AddReply:
        for name in names:
            (self.folder / name).write_bytes(PNG + name.encode())
        return await self.request(Add(tuple(str(self.folder / name) for name in names)), AddReply)


def parse(response: bytes) -> tuple[int, dict[str, str], Any]:
    head, _, body = response.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return int(first.split()[1]), headers, json.loads(body)


class Stream:
    """Reads server-sent events. The chunk sizes between them parse as meaningless fields."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def next(self) -> tuple[str, dict[str, Any], int | None]:
        async with asyncio.timeout(LIMIT_S):
            while True:
                fields: dict[str, str] = {}
                while line := (await self._reader.readline()).decode().rstrip("\r\n"):
                    name, _, value = line.partition(": ")
                    fields[name] = value
                if "data" in fields:
                    number = int(fields["id"]) if "id" in fields else None
                    return fields["event"], json.loads(fields["data"]), number

    async def rest(self) -> bytes:
        async with asyncio.timeout(LIMIT_S):
            return await self._reader.read()

    def close(self) -> None:
        self._writer.close()


async def stream(control_api: ControlApi, path: str, *headers: str) -> Stream:
    reader, writer = await asyncio.open_unix_connection(control_api.path)
    lines = [f"GET {path} HTTP/1.1", "Host: x", "Connection: close", *headers, "", ""]
    writer.write("\r\n".join(lines).encode())
    async with asyncio.timeout(LIMIT_S):
        assert b" 200 " in await reader.readline()
        while (await reader.readline()).strip():
            pass
    return Stream(reader, writer)


@asynccontextmanager
async def serve_control_api(
    tmp_path: Path, *, server: SplootClient | None = None, url: str = "local"
) -> AsyncIterator[ControlApi]:
    """Run a control API in an empty home below `tmp_path`, with `server` at `url` or a `Library`."""
    folder = tmp_path / "memes"
    folder.mkdir()
    clock, wake_signals, config, library = Clock(), WakeSignals(), Config(server=url, settle_s=0.0), Library()
    database = await Database.open(tmp_path / "queue.db")
    row, _ = await open_account(database, config.server)
    credentials = Credentials(tmp_path / "token", clock)
    import_store = ImportStore(database, server_id=row, wake_signals=wake_signals)
    folder_store = FolderStore(database, server_id=row)
    importer = Importer(import_store, folder_store, clock, settle_s=0.0)
    shutdowns: list[str] = []
    admission, ledger = AdmissionController(clock, credentials), Ledger(database, server_id=row)
    moves = MoveJournal(database, server_id=row, wake_signals=wake_signals)
    web_server = WebServer(tmp_path / "web-ui.json", port=0, clock=clock, instance_id="instance-1")
    client: Any = server or library  # a fake with the methods in use
    context = Context(
        instance_id="instance-1",
        config=config,
        clock=clock,
        wake_signals=wake_signals,
        event_bus=EventBus(),
        read_queries=ReadQueries(database, server_id=row),
        queue=Queue(database, server_id=row, instance_id="instance-1", wake_signals=wake_signals),
        import_store=import_store,
        folder_store=folder_store,
        idempotency_store=IdempotencyStore(database),
        settings_store=SettingsStore(database),
        importer=importer,
        watcher=Watcher(import_store, folder_store, importer, clock, config),
        client=client,
        library_client=LibraryClient(client, is_local=config.is_local),
        image_proxy=ImageProxy(client, LOCAL_SERVER_URL if config.is_local else config.server),
        push_subscriptions=PushSubscriptions(wake_signals.embedding),
        database=database,
        ledger=ledger,
        move_journal=moves,
        post_upload=PostUploadProcessor(
            moves,
            ledger,
            library,  # type: ignore[arg-type]  # as above
            admission,
            clock=clock,
            wake_signals=wake_signals,
            trash=Trash({"HOME": str(tmp_path)}, platform="linux"),
        ),
        admission=admission,
        metrics=MetricsCollector(clock),
        rss=RssSamples(),
        adaptive_concurrency=AdaptiveConcurrency(3),
        credentials=credentials,
        web_ui=web_server,
        paths=Paths(tmp_path / "config.toml", tmp_path, tmp_path / "run"),
        shutdown=lambda: shutdowns.append("now"),
        restart=lambda: shutdowns.append("restart"),
    )
    path = tmp_path / "run" / "splootd.sock"
    control = ControlServer(bind(path), context)
    browser_uploads, routes = build_library_routes(context, control.endpoints, (tmp_path / "browser-uploads").resolve())
    web_server.set_routes(control.endpoints, routes)
    running = [asyncio.create_task(worker.run()) for worker in (control, importer, web_server, browser_uploads)]
    try:
        yield ControlApi(path, folder, context, control, library, web_server, shutdowns)
    finally:
        control.close()
        for worker in running[1:]:
            worker.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await database.close()
