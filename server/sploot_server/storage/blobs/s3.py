"""Content-addressed blob store in an S3-compatible bucket: `<prefix>/ab/cd/<sha256>`.

An upload is spooled locally until its checksum is known, then sent in one request or, above PART_BYTES, in parts. S3
creates an object completely or not at all, and it is durable when the response arrives. The endpoint and the
credentials come from the environment: AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION and the
other variables of AWS's own tools.
"""

import asyncio
import contextlib
import os
import secrets
import shutil
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import BaseError, NotFoundError
from obstore.store import S3Store

from sploot_server.config import ConfigError
from sploot_server.domain.entities import BackendUnavailable, OriginalMissing
from sploot_server.measurements import Measurements
from sploot_server.storage.blobs.files import CHECKSUM, STORE_ID, SpooledUploadSink

if TYPE_CHECKING:  # these names exist in the stubs only
    from obstore import GetOptions, GetResult

PART_BYTES = 8 * 1024 * 1024
CONCURRENT_PARTS_MAX = 3  # per upload, each in memory
CHUNK_BYTES = 256 * 1024
LIST_OBJECTS = 1_000
RETRIES_MAX = 3
RETRY_S_MAX = 20
REQUEST_S_MAX = 60
CONNECT_S_MAX = 5
MISSING = (FileNotFoundError, NotFoundError)  # what a missing object raises depends on the call
MISSING_CHECKSUM = "0" * 64  # no content has it: `check_writable` requests its object


class S3Blobs:
    """BlobStore in a bucket; `scratch` is a local folder that no other process uses."""

    def __init__(self, url: str, scratch: Path, measurements: Measurements | None = None) -> None:
        self._measurements = measurements or Measurements()
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
        """Create the scratch folder; discard the files of an earlier process."""
        shutil.rmtree(self._scratch, ignore_errors=True)
        self._scratch.mkdir(mode=0o700, parents=True)

    def open_upload(self) -> "S3UploadSink":
        return S3UploadSink(self._scratch / secrets.token_hex(16), self._store, self._measurements)

    @contextlib.asynccontextmanager
    async def local_file(self, checksum: str) -> AsyncIterator[Path]:
        path = self._scratch / secrets.token_hex(16)
        try:
            with await asyncio.to_thread(path.open, "xb", buffering=0) as file, map_exceptions():
                response = await self._get(checksum)
                async for chunk in response.stream(min_chunk_size=CHUNK_BYTES):
                    await asyncio.to_thread(file.write, chunk)
            yield path
        finally:
            path.unlink(missing_ok=True)

    async def read(self, checksum: str, start: int, stop: int) -> AsyncIterator[bytes]:
        with map_exceptions():
            response = await self._get(checksum, {"range": (start, stop)})
            async for chunk in response.stream(min_chunk_size=CHUNK_BYTES):
                yield bytes(chunk)

    async def remove(self, checksum: str) -> None:
        with map_exceptions(), self._measurements.timed("s3", "delete"), contextlib.suppress(*MISSING):
            await obstore.delete_async(self._store, object_key(checksum))

    async def size(self, checksum: str) -> int | None:
        with map_exceptions(), contextlib.suppress(*MISSING):
            return (await obstore.head_async(self._store, object_key(checksum)))["size"]
        return None

    async def list_sizes(self) -> AsyncIterator[tuple[str, int]]:
        with map_exceptions():
            async for page in obstore.list(self._store, chunk_size=LIST_OBJECTS):
                for each in page:
                    checksum = each["path"].rpartition("/")[2]
                    if CHECKSUM.fullmatch(checksum):
                        yield checksum, each["size"]

    async def read_id(self) -> str | None:
        with map_exceptions(), contextlib.suppress(*MISSING):
            response = await obstore.get_async(self._store, STORE_ID)
            return bytes(await response.bytes_async()).decode().strip()
        return None

    async def write_id(self, store_id: str) -> None:
        with map_exceptions():
            await obstore.put_async(self._store, STORE_ID, f"{store_id}\n".encode())

    async def check_writable(self) -> None:
        with map_exceptions(), self._measurements.timed("s3", "head"), contextlib.suppress(*MISSING):
            await obstore.head_async(self._store, object_key(MISSING_CHECKSUM))

    async def _get(self, checksum: str, options: "GetOptions | None" = None) -> "GetResult":
        """Request an object; its content is streamed later. Raises OriginalMissing."""
        try:
            with self._measurements.timed("s3", "get"):
                return await obstore.get_async(self._store, object_key(checksum), options=options)
        except MISSING as error:
            self._measurements.originals_missing.inc()
            raise OriginalMissing from error


class S3UploadSink(SpooledUploadSink):
    """An upload sink that sends the content on commit."""

    def __init__(self, temporary: Path, store: S3Store, measurements: Measurements) -> None:
        super().__init__(temporary)
        self._measurements = measurements
        self._store = store

    async def commit(self) -> None:
        content = bytes(self._buffer) if self._file is None else await asyncio.to_thread(self._spool_to_disk)
        with map_exceptions(), self._measurements.timed("s3", "put"):
            await obstore.put_async(
                self._store,
                object_key(self.checksum),
                content,
                chunk_size=PART_BYTES,
                max_concurrency=CONCURRENT_PARTS_MAX,
            )

    def _spool_to_disk(self) -> Path:
        self._flush()
        return self._temporary_path


def object_key(checksum: str) -> str:
    """Return the key of the object with this content."""
    return f"{checksum[:2]}/{checksum[2:4]}/{checksum}"


@contextlib.contextmanager
def map_exceptions() -> Iterator[None]:
    """Translate store errors to BackendUnavailable."""
    try:
        yield
    except BaseError as error:
        raise BackendUnavailable("The blob store is unreachable; try again later") from error
