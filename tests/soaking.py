"""The daemon under people who come and go for a long time: what it takes must not grow with them, nor with time.

The daemon is a process of its own; the library it sends to runs here, over TCP, and drops its push line now and then.
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

from homes import Home, home_in
from livekit import LiveLibrary, live_library
from toy_library import END, picture

LISTENERS = 10
FILES = 5  # new ones in each turn
KEPT_TURNS = 20  # then a file leaves the folder again
DROP_TURNS = 7  # the push line is cut whenever so many turns have passed
TURN_S_MAX = 60
QUESTIONS = ("/v1/status", "/v1/items?limit=100", "/v1/report", "/v1/metrics", "/v1/folders")


@dataclass
class Soak:
    """What was measured at the end of each turn."""

    rss_kb: list[int] = field(default_factory=list)
    descriptors: list[int] = field(default_factory=list)
    ready: int = 0
    heard: int = 0

    def grown_kb(self) -> float:
        """How much more memory the last quarter of the turns took than the second one; the first is warming up."""
        quarter = len(self.rss_kb) // 4
        return statistics.median(self.rss_kb[-quarter:]) - statistics.median(self.rss_kb[quarter : 2 * quarter])

    def descriptors_grown(self) -> int:
        quarter = len(self.descriptors) // 4
        return max(self.descriptors[-quarter:]) - max(self.descriptors[quarter : 2 * quarter])


@dataclass
class Listener:
    """One who listens to the news of the daemon, or is deaf and never reads what it is sent."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def until_ready(self, count: int) -> None:
        """Read until so many items have become ready."""
        while count:
            line = await self.reader.readline()
            assert line, "the daemon hung up"
            if line.startswith(b"data: ") and json.loads(line[6:]).get("state") == "ready":
                count -= 1

    def leave(self, *, rudely: bool) -> None:
        if rudely:  # a reset instead of an end
            line = self.writer.get_extra_info("socket")
            line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.close()


async def soak(folder: Path, *, seconds: float) -> Soak:
    """Turns until `seconds` have passed."""
    done = Soak()
    async with _daemon(folder) as (home, library):
        watched = folder / "memes"
        ends_at, turn = time.monotonic() + seconds, 0
        listeners = [await _listen(home) for _ in range(LISTENERS)]
        while time.monotonic() < ends_at:
            async with asyncio.timeout(TURN_S_MAX):
                await _turn(home, listeners, watched, turn)
            if turn % DROP_TURNS == 0:
                library.updates._lose_track()
            done.ready += FILES
            done.heard += LISTENERS
            pid = home.daemon_pid()
            done.rss_kb.append(_rss_kb(pid))
            done.descriptors.append(_descriptors(pid))
            turn += 1
        for listener in listeners:
            listener.leave(rudely=False)
    return done


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


async def _turn(home: Home, listeners: list[Listener], watched: Path, turn: int) -> None:
    """New files arrive and become ready, old ones leave, half of the listeners are others, and all is asked once."""
    attentive = await _listen(home)
    for number in range(FILES):
        _appear(watched / f"{turn}-{number}.jpg", picture(f"the meme {number} of turn {turn}") + END)
        (watched / f"{turn - KEPT_TURNS}-{number}.jpg").unlink(missing_ok=True)
    for _ in range(LISTENERS // 2):
        listeners.pop(0).leave(rudely=turn % 2 == 0)
        listeners.append(await _listen(home))  # and reads nothing
    for question in QUESTIONS:
        await _ask(home, question)
    await attentive.until_ready(FILES)
    attentive.leave(rudely=False)


def _appear(file: Path, content: bytes) -> None:
    """At once and whole."""
    unseen = file.with_name(f".{file.name}.part")
    unseen.write_bytes(content)
    unseen.rename(file)


async def _connect(home: Home) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_unix_connection(str(home.folder / "sploot" / "run" / "splootd.sock"))


async def _listen(home: Home) -> Listener:
    reader, writer = await _connect(home)
    writer.write(b"GET /v1/events HTTP/1.1\r\nHost: sploot\r\n\r\n")
    await reader.readuntil(b"\r\n\r\n")
    return Listener(reader, writer)


async def _ask(home: Home, question: str) -> None:
    reader, writer = await _connect(home)
    writer.write(f"GET {question} HTTP/1.1\r\nHost: sploot\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read(-1)
    assert answer.startswith(b"HTTP/1.1 200"), answer[:300]
    writer.close()


def _rss_kb(pid: int | None) -> int:
    lines = Path(f"/proc/{pid}/status").read_text("ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


def _descriptors(pid: int | None) -> int:
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
