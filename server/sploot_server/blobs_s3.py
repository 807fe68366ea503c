"""Originals in a bucket of any store that speaks S3, under the name of their content: `<prefix>/ab/cd/<sha256>`.

An upload is spooled on this machine until its content is known, then sent in one request or, above PART_BYTES, in
parts; an object is there whole or not at all, and it is durable when the store has answered. Where the store is and
who asks is said by the environment: AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION and the
others that AWS's own tools read.
"""

import asyncio
import contextlib
import os
import secrets
import shutil
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path

import obstore
from obstore.exceptions import BaseError, NotFoundError
from obstore.store import S3Store

from sploot_server.blobs import Spool
from sploot_server.config import ConfigError
from sploot_server.model import Unreachable

PART_BYTES = 8 * 1024 * 1024
PARTS_AT_ONCE = 3  # of one upload, each in memory
PIECE_BYTES = 256 * 1024
RETRIES_MAX = 3
RETRY_S_MAX = 20
REQUEST_S_MAX = 60
CONNECT_S_MAX = 5
NOBODYS = "0" * 64


class S3Blobs:
    """BlobStore in a bucket; `scratch` is a folder of this process alone."""

    def __init__(self, url: str, scratch: Path) -> None:
        self._scratch = scratch
        endpoint = next(filter(None, map(os.environ.get, ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"))), "")
        try:
            self._store = S3Store.from_url(
                url,
                client_options={
                    "allow_http": endpoint.startswith("http://"),
                    "timeout": timedelta(seconds=REQUEST_S_MAX),
                    "connect_timeout": timedelta(seconds=CONNECT_S_MAX),
                },
                retry_config={"max_retries": RETRIES_MAX, "retry_timeout": timedelta(seconds=RETRY_S_MAX)},
            )
        except (BaseError, ValueError) as error:
            raise ConfigError(
                f"--blobs {url} cannot be used: {error}. It should look like s3://bucket/prefix."
            ) from error

    def open(self) -> None:
        """Make the folder for what is under way; throw away what an earlier process left there."""
        shutil.rmtree(self._scratch, ignore_errors=True)
        self._scratch.mkdir(mode=0o700, parents=True)

    def incoming(self) -> "S3Incoming":
        return S3Incoming(self._scratch / secrets.token_hex(16), self._store)

    @contextlib.asynccontextmanager
    async def local(self, checksum: str) -> AsyncIterator[Path]:
        path = self._scratch / secrets.token_hex(16)
        try:
            with await asyncio.to_thread(path.open, "xb", buffering=0) as file, reachable():
                answer = await obstore.get_async(self._store, key(checksum))
                async for piece in answer.stream(min_chunk_size=PIECE_BYTES):
                    await asyncio.to_thread(file.write, piece)
            yield path
        finally:
            path.unlink(missing_ok=True)

    async def read(self, checksum: str, start: int, stop: int) -> AsyncIterator[bytes]:
        with reachable():
            answer = await obstore.get_async(self._store, key(checksum), options={"range": (start, stop)})
            async for piece in answer.stream(min_chunk_size=PIECE_BYTES):
                yield bytes(piece)

    async def remove(self, checksum: str) -> None:
        with reachable(), contextlib.suppress(FileNotFoundError):
            await obstore.delete_async(self._store, key(checksum))

    async def check(self) -> None:
        with reachable(), contextlib.suppress(FileNotFoundError):
            await obstore.head_async(self._store, key(NOBODYS))


class S3Incoming(Spool):
    """Incoming that is sent when it is kept."""

    def __init__(self, temporary: Path, store: S3Store) -> None:
        super().__init__(temporary)
        self._store = store

    async def keep(self) -> None:
        whole = bytes(self._buffer) if self._file is None else await asyncio.to_thread(self._spooled)
        with reachable():
            await obstore.put_async(
                self._store, key(self.checksum), whole, chunk_size=PART_BYTES, max_concurrency=PARTS_AT_ONCE
            )

    def _spooled(self) -> Path:
        self._flush()
        return self._temporary


def key(checksum: str) -> str:
    """The name of the object with this content."""
    return f"{checksum[:2]}/{checksum[2:4]}/{checksum}"


@contextlib.contextmanager
def reachable() -> Iterator[None]:
    """Turns a store that is not there into Unreachable, and an object that is not there into FileNotFoundError."""
    try:
        yield
    except NotFoundError as error:
        raise FileNotFoundError(str(error)) from error
    except BaseError as error:
        raise Unreachable("The store of the originals cannot be reached; try again in a moment") from error
