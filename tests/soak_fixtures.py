"""A soak test: the daemon's memory and descriptors must not grow with the number of subscribers, nor with time.

The daemon is a separate process; its server runs in this process, over TCP, and drops the push connection regularly.
"""

import asyncio
import contextlib
import json
import socket
import statistics
import struct
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from live_library import LiveLibrary, live_library
from temp_home import Home, home_in
from toy_library import END, picture

SUBSCRIBERS = 10
FILES = 5  # new files per round
KEPT_ROUNDS = 20  # a file is deleted after so many rounds
DROP_ROUNDS = 7  # the push connection is dropped every so many rounds
ROUND_TIMEOUT_S = 60
REQUESTS = ("/v1/status", "/v1/items?limit=100", "/v1/report", "/v1/metrics", "/v1/folders")


@dataclass
class Soak:
    """Measurements at the end of each round."""

    rss_kb: list[int] = field(default_factory=list)
    descriptors: list[int] = field(default_factory=list)
    ready: int = 0
    events_received: int = 0

    def rss_growth_kb(self) -> float:
        """Return the growth from the second quarter of the rounds to the last; the first quarter is a warm-up."""
        quarter = len(self.rss_kb) // 4
        return statistics.median(self.rss_kb[-quarter:]) - statistics.median(self.rss_kb[quarter : 2 * quarter])

    def descriptor_growth(self) -> int:
        quarter = len(self.descriptors) // 4
        return max(self.descriptors[-quarter:]) - max(self.descriptors[quarter : 2 * quarter])


@dataclass
class Subscriber:
    """A subscriber of the daemon's events, which may never read them."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def until_ready(self, count: int) -> None:
        """Read events until so many items are ready."""
        while count:
            line = await self.reader.readline()
            assert line, "the daemon closed the connection"
            if line.startswith(b"data: ") and json.loads(line[6:]).get("state") == "ready":
                count -= 1

    def close(self, *, reset: bool) -> None:
        if reset:  # SO_LINGER with a timeout of 0 sends RST instead of FIN
            sock = self.writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.close()


async def soak(folder: Path, *, seconds: float) -> Soak:
    """Run rounds for `seconds`."""
    result = Soak()
    async with _daemon(folder) as (home, library):
        watched = folder / "memes"
        deadline, round_number = time.monotonic() + seconds, 0
        subscribers = [await _subscribe(home) for _ in range(SUBSCRIBERS)]
        while time.monotonic() < deadline:
            async with asyncio.timeout(ROUND_TIMEOUT_S):
                await _run_round(home, subscribers, watched, round_number)
            if round_number % DROP_ROUNDS == 0:
                library.hub._drop_all()
            result.ready += FILES
            result.events_received += SUBSCRIBERS
            pid = home.daemon_pid()
            result.rss_kb.append(_rss_kb(pid))
            result.descriptors.append(_descriptors(pid))
            round_number += 1
        for subscriber in subscribers:
            subscriber.close(reset=False)
    return result


@contextlib.asynccontextmanager
async def _daemon(folder: Path) -> AsyncIterator[tuple[Home, LiveLibrary]]:
    async with live_library(folder / "library", tcp=True) as library:
        with home_in(folder / "home", SPLOOT_SERVER=library.url) as home:
            (folder / "memes").mkdir()
            await asyncio.to_thread(home.ok, "config", "set", "settle_s", "0")
            await asyncio.to_thread(home.ok, "add", str(folder / "memes"))
            try:
                yield home, library
            finally:
                await asyncio.to_thread(home.run, "daemon", "stop")


async def _run_round(home: Home, subscribers: list[Subscriber], watched: Path, round_number: int) -> None:
    """Create files, delete old ones, replace half of the subscribers, send each request, wait for the new files."""
    reading = await _subscribe(home)
    for number in range(FILES):
        content = picture(f"the meme {number} of round {round_number}") + END
        _create_atomically(watched / f"{round_number}-{number}.jpg", content)
        (watched / f"{round_number - KEPT_ROUNDS}-{number}.jpg").unlink(missing_ok=True)
    for _ in range(SUBSCRIBERS // 2):
        subscribers.pop(0).close(reset=round_number % 2 == 0)
        subscribers.append(await _subscribe(home))  # never reads
    for target in REQUESTS:
        await _get(home, target)
    await reading.until_ready(FILES)
    reading.close(reset=False)


def _create_atomically(file: Path, content: bytes) -> None:
    """Write a file under an ignored name and rename it, so that the watcher never sees it incomplete."""
    temporary = file.with_name(f".{file.name}.part")
    temporary.write_bytes(content)
    temporary.rename(file)


async def _connect(home: Home) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_unix_connection(str(home.folder / "sploot" / "run" / "splootd.sock"))


async def _subscribe(home: Home) -> Subscriber:
    reader, writer = await _connect(home)
    writer.write(b"GET /v1/events HTTP/1.1\r\nHost: sploot\r\n\r\n")
    await reader.readuntil(b"\r\n\r\n")
    return Subscriber(reader, writer)


async def _get(home: Home, target: str) -> None:
    reader, writer = await _connect(home)
    writer.write(f"GET {target} HTTP/1.1\r\nHost: sploot\r\nConnection: close\r\n\r\n".encode())
    response = await reader.read(-1)
    assert response.startswith(b"HTTP/1.1 200"), response[:300]
    writer.close()


def _rss_kb(pid: int | None) -> int:
    lines = Path(f"/proc/{pid}/status").read_text("ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


def _descriptors(pid: int | None) -> int:
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
