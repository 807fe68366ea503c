"""For tests of the library server: an embedder that needs no weights, and the real server as a process of its own."""

import asyncio
import hashlib
import os
import signal
import struct
import subprocess
import sys
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from sploot_server.embedding import Lost, Model, Reading, Unavailable, Vectors

DIM = 64
HEAD = b"\xff\xd8\xff"
END = b"\xff\xd9"  # of a JPEG that is whole


def picture(text: str) -> bytes:
    """What `FakeEmbedder` reads `text` from; to everybody else the start of a JPEG."""
    return HEAD + text.encode()


def vector(text: str) -> bytes:
    """Texts that share words are near each other, as far as anything in this toy is."""
    counts = [0.01] * DIM
    for word in text.lower().split():
        counts[zlib.crc32(word.encode()) % DIM] += 1.0
    length = sum(count * count for count in counts) ** 0.5
    return struct.pack(f"<{DIM}f", *(count / length for count in counts))


def look(text: str) -> bytes:
    """Texts of the same first word are on the same template."""
    return hashlib.md5(text.split(" ", 1)[0].encode()).digest()


@dataclass
class FakeEmbedder:
    """Embedder on `picture` files. Texts in `faults` fail as often as there are faults listed for them."""

    threads: int = 2
    model: Model = field(default_factory=lambda: Model("fake", DIM))
    faults: dict[str, list[Exception]] = field(default_factory=dict)
    deadly: str | None = None  # whoever is read beside this text is lost with it
    queries_fail: bool = False
    hold: asyncio.Event | None = None  # reading waits for it
    reading: int = 0
    read_texts: list[str] = field(default_factory=list)

    async def read(self, picture: Path) -> Reading:
        text = (await asyncio.to_thread(picture.read_bytes)).removeprefix(HEAD).decode("utf-8", "ignore")
        self.read_texts.append(text)
        self.reading += 1
        try:
            if self.hold is not None:
                await self.hold.wait()
            await asyncio.sleep(0)
            company = self.reading > 1
        finally:
            self.reading -= 1
        if self.deadly is not None and (text == self.deadly or company):
            raise Lost("The worker broke down.", alone=not company)
        if self.faults.get(text):
            raise self.faults[text].pop(0)
        return Reading(text, vector(text) if text else None, 640, 480, look=look(text))

    async def query(self, text: str) -> Vectors:
        if self.queries_fail:
            raise Unavailable("no queries today")
        return Vectors(vector(text), None)

    async def close(self) -> None:
        pass


COMMAND = [sys.executable, "-m", "sploot_server"]


class ServerProcess:
    """A real `sploot-server`, on a Unix socket unless `port` is given. `stop` and `kill` wait for its end."""

    def __init__(self, data: Path, *options: str, port: int | None = None) -> None:
        self.data = data
        self.socket = data / "s.sock"
        announcement, ready = os.pipe()
        self.process = subprocess.Popen(
            [
                *COMMAND,
                *("--data", str(data)),
                *(("--uds", str(self.socket)) if port is None else ("--port", str(port))),
                *("--ready-fd", str(ready)),
                *("--threads", "1"),
                "--exit-with-stdin",
                *options,
            ],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=[ready],
        )
        os.close(ready)
        with os.fdopen(announcement) as pipe:
            self.address = pipe.readline().strip()
        assert self.address, self.ended()

    def client(self) -> httpx.Client:
        return httpx.Client(transport=httpx.HTTPTransport(uds=str(self.socket)), base_url="http://localhost")

    def kill(self) -> None:
        self.process.kill()
        self.ended()

    def stop(self) -> str:
        """SIGTERM; what it wrote to standard error."""
        self.process.send_signal(signal.SIGTERM)
        return self.ended()

    def ended(self) -> str:
        _, errors = self.process.communicate(timeout=30)
        return errors.decode()
