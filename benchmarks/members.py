"""Measure a library of many members over HTTP: `python benchmarks/members.py [--shared] [--assets N] [--seconds S]`.

Fifty members own the assets. Ten upload a picture a second each; the others, each every ten seconds on average, open
their wall (a page of assets, then its thumbnails on six connections, as a browser does) or search. With `--shared`,
three servers and a worker do this on PostgreSQL, Redis and S3. The clients use the same processors as the servers.
"""

import argparse
import asyncio
import contextlib
import functools
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import captions
import memes
import postgres
import s3
import scale
import synthetic_assets
from redis_server import RedisServer
from resumable import memory_kb
from side_by_side import show
from sploot_server.auth.accounts import Scope, Token, User
from sploot_server.auth.tokens import hash_token, mint_token
from sploot_server.config import Config
from sploot_server.domain.image_sizes import WALL_PX
from sploot_server.inference.render_thumbnail import render_thumbnails
from sploot_server.inference.worker_pool import WorkerEmbedder
from sploot_server.storage.postgres.database import PostgresDatabase
from sploot_server.storage_backends import open_stores
from toy_library import COMMAND, ServerProcess

MEMBERS, UPLOADERS = 50, 10
SERVERS = 3
PAUSE_S = 10.0  # of a member who looks, on average
UPLOAD_PAUSE_S = 1.0
WALL_ASSETS = 50
CONNECTIONS = 6
TARGET = "p95 under 150 ms"


@dataclass
class Library:
    """Running servers, and the tokens of the members."""

    tokens: Sequence[str]
    servers: Sequence[ServerProcess]
    others: Sequence[subprocess.Popen[bytes]] = ()
    took_s: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def client(self, member: int) -> "Client":
        port = int(self.servers[member % len(self.servers)].address.rpartition(":")[2])
        return Client(port, self.tokens[member])


class Client:
    """HTTP/1.1 on one connection; a library of a thousand features would measure itself."""

    refused: ClassVar = Counter[str]()
    """Requests of all clients that were refused for a while, by the first part of their path."""

    def __init__(self, port: int, token: str) -> None:
        self._port = port
        self._token = token
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def request(self, method: str, path: str, body: bytes = b"", mime: str = "application/json") -> bytes:
        """Return the body of the response, whose status must be one of success."""
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {self._token}\r\n"
        writer.write(f"{head}Content-Type: {mime}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower().split("\r\n")
        fields = dict(line.split(": ", 1) for line in lines[1:] if line)
        content = await reader.readexactly(int(fields["content-length"]))
        status = int(lines[0].split()[1])
        if status in (429, 503):  # as the web page does
            self.refused[path.partition("?")[0].split("/")[2]] += 1
            await asyncio.sleep(1)
            return await self.request(method, path, body, mime)
        if not (200 <= status < 300 or status == 409):
            raise RuntimeError(f"{method} {path}: {lines[0]} {content[:200]!r}")
        return content


async def look(library: Library, member: int, rng: random.Random, words: Sequence[str], until: float) -> None:
    """Open the wall or search, now and then."""
    clients = [library.client(member) for _ in range(CONNECTIONS)]
    await asyncio.sleep(rng.uniform(0, PAUSE_S))
    while time.monotonic() < until:
        if rng.random() < 0.5:
            await open_wall(library, clients)
        else:
            await search(library, clients[0], rng, words)
        await asyncio.sleep(rng.expovariate(1 / PAUSE_S))


async def open_wall(library: Library, clients: Sequence[Client]) -> None:
    """Fetch a page of assets, then its thumbnails on all connections."""
    began = time.monotonic()
    page = json.loads(await clients[0].request("GET", f"/api/assets?limit={WALL_ASSETS}"))
    library.took_s["list"].append(time.monotonic() - began)
    paths = [f"/api/assets/{each['id']}/thumbnail?size={WALL_PX}" for each in page["assets"]]
    await asyncio.gather(*(fetch_all(each, paths[number :: len(clients)]) for number, each in enumerate(clients)))
    library.took_s["wall"].append(time.monotonic() - began)


async def search(library: Library, client: Client, rng: random.Random, words: Sequence[str]) -> None:
    """Search for three words."""
    began = time.monotonic()
    query = json.dumps({"query": " ".join(rng.sample(words, 3)), "limit": 30}).encode()
    await client.request("POST", "/api/search", query)
    library.took_s["search"].append(time.monotonic() - began)


async def send_picture(library: Library, client: Client, data: bytes) -> str:
    """Upload a picture and return its id."""
    began = time.monotonic()
    form = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\n\r\n' + data + b"\r\n--x--\r\n"
    reply = await client.request("POST", "/api/upload", form, "multipart/form-data; boundary=x")
    library.took_s["upload"].append(time.monotonic() - began)
    return str(json.loads(reply)["asset"]["id"])


async def fetch_all(client: Client, paths: Sequence[str]) -> None:
    for path in paths:
        await client.request("GET", path)


async def upload(library: Library, member: int, pictures: Sequence[bytes], until: float) -> None:
    """Send one picture after the other, each different from all others."""
    client, number = library.client(member), 0
    while time.monotonic() < until:
        await send_picture(library, client, pictures[number % len(pictures)] + f"{member} {number}".encode())
        number += 1
        await asyncio.sleep(UPLOAD_PAUSE_S)


async def measure(library: Library, pictures: Sequence[bytes], seconds: float) -> None:
    """Let all members work. A search on each server first starts its worker and reads its vectors."""
    words = corpus_words()
    for member in range(MEMBERS):
        await library.client(member).request("POST", "/api/search", b'{"query": "cat"}')
    until = time.monotonic() + seconds
    await asyncio.gather(
        *(upload(library, member, pictures, until) for member in range(UPLOADERS)),
        *(look(library, member, random.Random(member), words, until) for member in range(UPLOADERS, MEMBERS)),
    )


@functools.cache  # the clients use the same processors as the servers
def corpus_words() -> Sequence[str]:
    return sorted({word for caption in captions.corpus() for word in caption.text.split()})


async def add_members(config: Config) -> list[str]:
    tokens = []
    async with open_stores(config) as stores:
        await stores.blob_identity.verify()
        for member in range(MEMBERS):
            text, token_id = mint_token()
            await stores.accounts.add_user(User(owner(member), owner(member), 0))
            token = Token(token_id, owner(member), "", hash_token(text), frozenset(Scope), 0)
            await stores.accounts.add_token(token)
            tokens.append(text)
    return tokens


def owner(member: int) -> str:
    return f"member{member}"


def add_thumbnails(folders: Sequence[Path], assets: int, picture: Path) -> None:
    """Put a thumbnail of the newest assets of each member where the servers find it."""
    for folder in folders:
        folder.mkdir(parents=True)
        source = folder / "source"
        render_thumbnails(picture, {WALL_PX: source})
        for row in range(max(1, assets - MEMBERS * (WALL_ASSETS + 2)), assets + 1):
            asset = synthetic_assets.asset_id(row)
            target = folder / asset[-2:] / f"{asset}-{WALL_PX}"
            target.parent.mkdir(exist_ok=True)
            target.hardlink_to(source)


@contextlib.contextmanager
def one_server(folder: Path, assets: int, picture: Path) -> Iterator[Library]:
    data = folder / "library"
    data.mkdir()
    tokens = asyncio.run(add_members(Config(data=data)))
    synthetic_assets.fill(data, assets, [owner(member) for member in range(MEMBERS)])
    add_thumbnails([data / "thumbnails"], assets, picture)
    server = ServerProcess(data, "--accounts", "--log", str(folder / "log"), port=0)
    try:
        yield Library(tokens, [server])
    finally:
        server.kill()


@contextlib.contextmanager
def three_servers(folder: Path, assets: int, picture: Path) -> Iterator[Library]:
    os.environ.update(s3.server())
    redis, database, blobs = RedisServer(folder), postgres.new_database(), s3.new_prefix()
    (folder / "first").mkdir()
    tokens = asyncio.run(add_members(Config(data=folder / "first", database=database, blobs=blobs)))
    asyncio.run(fill_postgres(database, assets))
    folders = [folder / f"server{number}" for number in range(SERVERS)]
    add_thumbnails([each / "thumbnails" for each in folders], assets, picture)
    backends = ["--database", database, "--blobs", blobs, "--events", redis.url]
    worker = subprocess.Popen([*COMMAND, "worker", *backends, "--threads", "1"], stderr=subprocess.DEVNULL)
    options = ["--accounts", *backends, "--log", str(folder / "log")]
    servers = [ServerProcess(each, *options, port=0) for each in folders]
    try:
        yield Library(tokens, servers, [worker])
    finally:
        for server in servers:
            server.kill()
        worker.kill()
        worker.wait()
        redis.kill()


async def fill_postgres(url: str, assets: int) -> None:
    database = PostgresDatabase(url)
    await database.open()
    language = sorted({word for caption in captions.corpus() for word in caption.text.split()})
    owners = [owner(member) for member in range(MEMBERS)]
    model = WorkerEmbedder(threads=1, idle_s=1).model.name
    await scale.fill(database, 0, assets, language, model=model, owners=owners)
    # The rows were inserted with numbers of their own: the next ones are those after them.
    await database.fetch("SELECT setval(pg_get_serial_sequence('assets', 'row'), $1)", assets)
    await database.execute("UPDATE completion_sequence SET last_seq = $1", values=[assets])
    await database.fetch("ANALYZE")
    await database.close()


def processes(library: Library) -> Iterator[int]:
    """Yield the ids of the servers, the workers, and what they have started."""
    pending = [each.process.pid for each in library.servers] + [each.pid for each in library.others]
    while pending:
        pid = pending.pop()
        yield pid
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            pending += map(int, children.read_text().split())


def processor_s(library: Library) -> float:
    fields = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in processes(library)]
    return sum(int(each[11]) + int(each[12]) for each in fields) / os.sysconf("SC_CLK_TCK")


def percentile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", action="store_true", help="three servers on PostgreSQL, Redis and S3")
    parser.add_argument("--assets", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=60)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        made = [each.path for each in memes.make(Path(name) / "memes", count=20)]
        start = three_servers if arguments.shared else one_server
        with start(Path(name), arguments.assets, made[0]) as library:
            before_s = processor_s(library)
            asyncio.run(measure(library, [each.read_bytes() for each in made], arguments.seconds))
            used = (processor_s(library) - before_s) / arguments.seconds
            memory_mb = sum(memory_kb(pid, "VmHWM") for pid in processes(library)) / 1000
    for kind in ("wall", "list", "search", "upload"):
        took_ms = [each * 1000 for each in library.took_s[kind]]
        figure = f"{percentile(took_ms, 0.5):.0f}, {percentile(took_ms, 0.95):.0f} ms"
        show(f"{kind}, p50 and p95 of {len(took_ms)}", figure, "" if kind == "upload" else TARGET)
    show("requests that were refused, and sent again a second later", str(Client.refused.total()), "none")
    show("processors that the servers and their workers used", f"{used:.2f} of {os.cpu_count()}")
    show("memory of them all, the peaks added", f"{memory_mb:.0f} MB")


if __name__ == "__main__":
    main()
