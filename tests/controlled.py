"""For tests: the control API over a real socket, on a real store. Only the library server is not real."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sploot.client import Client
from sploot.connection import Connection

from splootd.bus import Bells, Bus
from splootd.clock import Clock
from splootd.config import Config
from splootd.control.door import Control, bind
from splootd.control.parts import Parts
from splootd.core.backlog import Backlog
from splootd.core.timetable import Timetable
from splootd.credentials import Credentials
from splootd.gate import Gate
from splootd.metrics import Traffic
from splootd.metrics.calls import Calls
from splootd.metrics.memory import Memory
from splootd.page.contents import contents
from splootd.page.door import Door
from splootd.protocol import (
    Add,
    Added,
    Request,
)
from splootd.remote.api import Limits, Match, Server
from splootd.remote.inbox import Inbox
from splootd.remote.throttle import Throttle
from splootd.store.arrivals import Arrivals
from splootd.store.database import Database
from splootd.store.ledger import Ledger, server_id
from splootd.store.listing import Listing
from splootd.store.moves import Moves
from splootd.store.queue import Queue
from splootd.work.aftercare import Aftercare
from splootd.work.intake import Intake
from splootd.work.trash import Trash
from splootd.work.watcher import Watcher

LIMIT_S = 20
PNG = b"\x89PNG\r\n\x1a\n"


SEARCH_MIN = 10  # fewer are not to be had from a Sploot


class Library:
    """A server that says what it takes, and answers one search."""

    def __init__(self) -> None:
        self.matches: list[Match] = []
        self.error: Exception | None = None
        self.calls = Calls()
        self.throttle = Throttle(Timetable(), Clock())
        self.last_limits: Limits | None = None

    async def limits(self) -> Limits:
        return Limits(10_000_000, frozenset({"image/png"}))

    async def search(self, text: str, limit: int) -> list[Match]:
        if self.error:
            raise self.error
        return self.matches[: max(limit, SEARCH_MIN)]


@dataclass
class House:
    """A control API that runs, and its parts."""

    path: Path
    folder: Path
    parts: Parts
    control: Control
    library: Library
    page: Door
    shutdowns: list[str] = field(default_factory=list)

    async def ask(self, request: Request, reply: type[Any]) -> Any:
        def ask() -> Any:
            client = Client(lambda: Connection(self.path), print)
            try:
                return client.ask(request, reply)
            finally:
                client.close()

        return await asyncio.to_thread(ask)

    async def raw(self, message: bytes) -> bytes:
        """Whatever comes back for `message`, until the other end hangs up."""
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
        """One request, however wrong: status, headers, JSON."""
        lines = [f"{method} {path} HTTP/1.1", "Host: x", "Connection: close", f"Content-Length: {len(body)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        return parse(await self.raw("\r\n".join([*lines, "", ""]).encode() + body))

    async def add(self, *names: str) -> Added:
        for name in names:
            (self.folder / name).write_bytes(PNG + name.encode())
        return await self.ask(Add(tuple(str(self.folder / name) for name in names)), Added)


def parse(answer: bytes) -> tuple[int, dict[str, str], Any]:
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return int(first.split()[1]), headers, json.loads(body)


class Stream:
    """Server-sent events as they come. The sizes of chunks between them look like fields without meaning."""

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


async def stream(house: House, path: str, *headers: str) -> Stream:
    reader, writer = await asyncio.open_unix_connection(house.path)
    lines = [f"GET {path} HTTP/1.1", "Host: x", "Connection: close", *headers, "", ""]
    writer.write("\r\n".join(lines).encode())
    async with asyncio.timeout(LIMIT_S):
        assert b" 200 " in await reader.readline()
        while (await reader.readline()).strip():
            pass
    return Stream(reader, writer)


@asynccontextmanager
async def controlled(tmp_path: Path, *, server: Server | None = None, url: str = "local") -> AsyncIterator[House]:
    """A control API that answers in an empty home below `tmp_path`; `server` is at `url`, else a `Library`."""
    folder = tmp_path / "memes"
    folder.mkdir()
    clock, bells, config, library = Clock(), Bells(), Config(server=url, settle_s=0.0), Library()
    database = await Database.open(tmp_path / "queue.db")
    row = await server_id(database, config.server)
    credentials = Credentials(tmp_path / "token", clock)
    arrivals = Arrivals(database, server_id=row, bells=bells)
    intake = Intake(arrivals, clock, settle_s=0.0)
    shutdowns: list[str] = []
    gate, ledger = Gate(clock, credentials), Ledger(database, server_id=row)
    moves = Moves(database, server_id=row, bells=bells)
    page = Door(tmp_path / "page.json", port=0, clock=clock, boot="boot-1")
    parts = Parts(
        boot="boot-1",
        config=config,
        clock=clock,
        bells=bells,
        bus=Bus(),
        listing=Listing(database, server_id=row),
        queue=Queue(database, server_id=row, boot="boot-1", bells=bells),
        arrivals=arrivals,
        intake=intake,
        watcher=Watcher(arrivals, intake, clock, config),
        server=server or library,  # type: ignore[arg-type]  # the part of it that is asked
        inbox=Inbox(bells.embedding),
        database=database,
        ledger=ledger,
        moves=moves,
        aftercare=Aftercare(
            moves,
            ledger,
            library,  # type: ignore[arg-type]  # as above
            gate,
            clock=clock,
            bells=bells,
            trash=Trash({"HOME": str(tmp_path)}, platform="linux"),
        ),
        gate=gate,
        traffic=Traffic(clock),
        memory=Memory(),
        backlog=Backlog(3),
        credentials=credentials,
        page=page,
        shutdown=lambda: shutdowns.append("now"),
    )
    path = tmp_path / "run" / "splootd.sock"
    it = Control(bind(path), parts)
    drop, shown = contents(parts, it.endpoints, (tmp_path / "dropped").resolve())
    page.serve(it.endpoints, shown)
    running = [asyncio.create_task(worker.run()) for worker in (it, intake, page, drop)]
    try:
        yield House(path, folder, parts, it, library, page, shutdowns)
    finally:
        it.close()
        for worker in running[1:]:
            worker.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await database.close()
