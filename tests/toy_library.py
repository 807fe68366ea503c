"""Test doubles of the library server: an embedder without models, and the real server as a process."""

import asyncio
import hashlib
import os
import random
import signal
import struct
import subprocess
import sys
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from sploot_server.domain.embedding import EmbedderUnavailable, EmbeddingModel, ImageAnalysis, Vectors, WorkerCrashed
from sploot_server.domain.template_features import DESCRIPTOR_BYTES, FEATURES_SIDE_PX, TEMPLATE_FEATURES_MIN

DIM = 64
HEAD = b"\xff\xd8\xff"
END = b"\xff\xd9"  # of a complete JPEG


def picture(text: str) -> bytes:
    """Return content in which `FakeEmbedder` finds `text`; its first bytes are those of a JPEG."""
    return HEAD + text.encode()


def vector(text: str) -> bytes:
    """Return a vector that is near those of texts with the same words."""
    counts = [0.01] * DIM
    for word in text.lower().split():
        counts[zlib.crc32(word.encode()) % DIM] += 1.0
    length = sum(count * count for count in counts) ** 0.5
    return struct.pack(f"<{DIM}f", *(count / length for count in counts))


def dhash(text: str) -> bytes:
    """Return a dHash: texts with the same first word share a template."""
    return hashlib.md5(text.split(" ", 1)[0].encode()).digest()


def features(text: str) -> bytes:
    """Return features of a picture: texts with the same first word share a template."""
    rng = random.Random(text.split(" ", 1)[0])
    return b"".join(
        struct.pack("<HH", rng.randrange(FEATURES_SIDE_PX), rng.randrange(FEATURES_SIDE_PX))
        + rng.randbytes(DESCRIPTOR_BYTES)
        for _ in range(2 * TEMPLATE_FEATURES_MIN)
    )


@dataclass
class FakeEmbedder:
    """Embedder on `picture` files. A text in `errors` fails once per listed error."""

    threads: int = 2
    model: EmbeddingModel = field(default_factory=lambda: EmbeddingModel("fake", DIM))
    errors: dict[str, list[Exception]] = field(default_factory=dict)
    crashing_text: str | None = None  # crashes the worker, with all images in progress
    queries_fail: bool = False
    hold: asyncio.Event | None = None  # images wait for it
    in_progress: int = 0
    read_texts: list[str] = field(default_factory=list)

    async def analyze_image(self, path: Path) -> ImageAnalysis:
        text = (await asyncio.to_thread(path.read_bytes)).removeprefix(HEAD).decode("utf-8", "ignore")
        self.read_texts.append(text)
        self.in_progress += 1
        try:
            if self.hold is not None:
                await self.hold.wait()
            await asyncio.sleep(0)
            is_isolated = self.in_progress == 1
        finally:
            self.in_progress -= 1
        if self.crashing_text is not None and (text == self.crashing_text or not is_isolated):
            raise WorkerCrashed("The worker crashed.", is_isolated=is_isolated)
        if self.errors.get(text):
            raise self.errors[text].pop(0)
        return ImageAnalysis(text, vector(text) if text else None, 640, 480, dhash=dhash(text), features=features(text))

    async def describe_picture(self, path: Path) -> tuple[bytes, bytes]:
        text = (await asyncio.to_thread(path.read_bytes)).removeprefix(HEAD).decode("utf-8", "ignore")
        return features(text), features(text[::-1])

    async def embed_query(self, text: str) -> Vectors:
        if self.queries_fail:
            raise EmbedderUnavailable("no query worker")
        return Vectors(vector(text), None)

    async def close(self) -> None:
        pass


COMMAND = [sys.executable, "-m", "sploot_server"]


class ServerProcess:
    """A real `sploot-server`, on a Unix socket unless `port` is given. `stop` and `kill` wait for its exit."""

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
        """Send SIGTERM; return the server's standard error."""
        self.process.send_signal(signal.SIGTERM)
        return self.ended()

    def ended(self) -> str:
        _, errors = self.process.communicate(timeout=30)
        return errors.decode()
