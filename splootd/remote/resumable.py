"""Large files in chunks, where the server takes them so: tus 1.0.0 (https://tus.io/protocols/resumable-upload).

Each chunk says where it begins and what its SHA-256 is, so what the server has acknowledged is right and stays. The
address of the upload is kept in the ledger: broken off on either side, by whatever, it goes on from there.
"""

import asyncio
import contextlib
import json
import re
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from http import HTTPStatus
from urllib.parse import urljoin, urlsplit

from splootd.clock import Clock
from splootd.errors import BadAnswer, BrokenOff, FileError, Refused, ServerError, StoreFull
from splootd.metrics.traffic import Transfer
from splootd.remote.answers import Limits, Stored, stored_of
from splootd.remote.api import Server
from splootd.remote.verdict import Answer, error_of, error_of_upload
from splootd.store.ledger import Ledger
from splootd.work.files import SEND_BYTES, Content, called

RESUMABLE_BYTES_MIN = 8 << 20  # below, a file is sent again as a whole sooner than its chunks are answered
CHUNK_BYTES_MIN, CHUNK_BYTES_MAX = SEND_BYTES, 8 << 20
CHUNK_BYTES_FIRST = 1 << 20
CHUNK_S = 2.0  # what a chunk should take: so much is lost when the line breaks
BEGINNINGS_MAX = 2
HITCHES_MAX = 5  # in a row, with nothing acknowledged between them
HELD_S = 1.0  # until a server that is busy with the upload is asked again
CHECKSUM_MISMATCH = 460  # tus's own
ADDRESS_CHARS_MAX = 2_000
VERSION = {"tus-resumable": "1.0.0"}

_PATH = re.compile(r"/(?!/)[!-~]*")


class _Gone(Exception):
    """The server knows this upload no more."""


class _Hitch(BadAnswer):
    """The chunk did not count, and the server is to be asked where the upload is."""


def offered(limits: Limits) -> str | None:
    """Where the server takes uploads in chunks, as a path on it; None where it does not."""
    offer = limits.features.get("resumable")
    path = offer.get("path") if isinstance(offer, dict) else None
    return path if isinstance(path, str) and _is_path(path) else None


class Resumable:
    """Sends one content at a time."""

    def __init__(self, server: Server, ledger: Ledger, clock: Clock) -> None:
        self._server = server
        self._ledger = ledger
        self._clock = clock

    async def upload(
        self, content: Content, path: str, *, tags: Sequence[str], transfer: Transfer, may_go: Callable[[], None]
    ) -> Stored:
        """Send what the server does not have yet; `transfer` hears what that is, and how it goes.

        `may_go` is asked before each chunk, and raises when sending is held back. FileChanged as with any upload.
        """
        answer = await self.send(content, path, tags=tags, transfer=transfer, may_go=may_go)
        if answer.body:
            return stored_of(answer.json(), sha256=content.sha256)
        if found := await self._server.check(content.sha256):
            return Stored(found.asset_id, duplicate=False)
        raise BadAnswer(f"the server has all of {called(content.path)}, and does not know it")

    async def send(
        self, content: Content, path: str, *, tags: Sequence[str], transfer: Transfer, may_go: Callable[[], None]
    ) -> Answer:
        """As `upload`; the answer that completes it."""
        for _ in range(BEGINNINGS_MAX):
            address = await self._ledger.upload(content.sha256)
            is_new = address is None
            address = address or await self._begin(content, path, tags)
            try:
                offset = 0 if is_new else await self._offset(content, address)
                transfer.resume(offset)
                answer = await self._go_on(content, address, offset, transfer.progress, may_go)
            except _Gone:
                await self._forget(content)
            except FileError:
                await self._forget(content)
                with contextlib.suppress(ServerError):
                    await self._server.exchange("DELETE", address, VERSION)
                raise
            except Refused:
                await self._forget(content)
                raise
            else:
                await self._forget(content)
                return answer
        raise BadAnswer("the server forgets uploads that have just begun")

    async def _begin(self, content: Content, path: str, tags: Sequence[str]) -> str:
        """The address of a new upload, which is remembered."""
        metadata = {
            "filename": called(content.path),
            "filetype": content.mime,
            "checksum": content.sha256.hex(),
            **({"tags": json.dumps(list(tags))} if tags else {}),
        }
        pairs = [f"{key} {b64encode(value.encode()).decode()}" for key, value in metadata.items()]
        headers = {**VERSION, "upload-length": str(content.size), "upload-metadata": ",".join(pairs)}
        answer = await self._server.exchange("POST", path, headers)
        if error := error_of_upload(answer, called(content.path)):
            raise error
        address = _path_of(answer.headers.get("location", ""), path)
        if answer.status != HTTPStatus.CREATED or address is None:
            raise BadAnswer("the server does not say where the upload goes on", status=answer.status)
        with contextlib.suppress(StoreFull):  # then it does not go on after a restart
            await self._ledger.upload_begun(content.sha256, address, now=self._clock.now())
        return address

    async def _go_on(
        self, content: Content, address: str, offset: int, sent: Callable[[int], None], may_go: Callable[[], None]
    ) -> Answer:
        """Chunk after chunk from `offset`; the answer to the last one."""
        size, size_max, hitches = CHUNK_BYTES_FIRST, CHUNK_BYTES_MAX, 0
        while True:
            may_go()
            end, began = min(offset + size, content.size), self._clock.monotonic()
            try:
                answer = await self._chunk(content, address, offset, end, sent)
                reached = _reached(answer, content, offset, end)
            except (_Hitch, BrokenOff) as hitch:
                hitches += 1
                if hitches > HITCHES_MAX:
                    raise
                if hitch.status == HTTPStatus.LOCKED:
                    await asyncio.sleep(HELD_S)
                size = max(CHUNK_BYTES_MIN, size // 2)
                if hitch.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
                    size_max = size
                offset = await self._offset(content, address)
                continue
            if reached == content.size:
                return answer
            offset, hitches = reached, 0
            size = min(size_after(size, self._clock.monotonic() - began), size_max)

    async def _chunk(self, content: Content, address: str, start: int, end: int, sent: Callable[[int], None]) -> Answer:
        async def body() -> AsyncIterator[bytes]:
            gone = start
            async for piece in content.part(start, end):
                async for part in self._server.throttle.parts(piece):
                    yield part
                    gone += len(part)
                    sent(gone)

        headers = {
            **VERSION,
            "content-type": "application/offset+octet-stream",
            "content-length": str(end - start),
            "upload-offset": str(start),
            "upload-checksum": f"sha256 {b64encode(await content.digest(start, end)).decode()}",
        }
        return await self._server.exchange("PATCH", address, headers, body, size=end - start)

    async def _offset(self, content: Content, address: str) -> int:
        """How much the server has. _Gone when that is nothing, or not of this content."""
        answer = await self._server.exchange("HEAD", address, VERSION)
        if _is_gone(answer):
            raise _Gone
        if error := error_of(answer):
            raise error
        offset, length = (_number(answer.headers, name) for name in ("upload-offset", "upload-length"))
        if offset is None or offset > content.size or length not in (None, content.size):
            raise _Gone
        return offset

    async def _forget(self, content: Content) -> None:
        with contextlib.suppress(StoreFull):  # then the server says that it is gone
            await self._ledger.upload_ended(content.sha256)


def size_after(size: int, took_s: float) -> int:
    """How large the next chunk is after one of `size` bytes: what the line carries in about CHUNK_S."""
    if took_s < CHUNK_S / 2:
        return min(size * 2, CHUNK_BYTES_MAX)
    return size if took_s < CHUNK_S * 2 else max(size // 2, CHUNK_BYTES_MIN)


def _reached(answer: Answer, content: Content, start: int, end: int) -> int:
    """Up to where the server has the file after a chunk from `start` to `end`."""
    name, status = called(content.path), answer.status
    if _is_gone(answer):
        raise _Gone
    is_hitch = status in (HTTPStatus.CONFLICT, HTTPStatus.LOCKED, CHECKSUM_MISMATCH)
    if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE and end - start > CHUNK_BYTES_MIN:
        is_hitch = True  # too large for what stands before the server, which takes smaller requests
    if is_hitch and not answer.is_signed_out:
        said = answer.words or "it does not say why"
        raise _Hitch(f"the server did not take a part of {name} ({status}: {said})", status=status)
    if error := error_of_upload(answer, name):
        raise error
    reached = _number(answer.headers, "upload-offset")
    if reached is None or not (start < reached <= end or start == reached == content.size):
        raise BadAnswer(f"the server does not say how much of {name} it has", status=status)
    return reached


def _is_gone(answer: Answer) -> bool:
    return answer.status in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE) and not answer.is_signed_out


def _number(headers: Mapping[str, str], name: str) -> int | None:
    text = headers.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


def _path_of(location: str, begun_at: str) -> str | None:
    """The path of an upload on this server, whatever name and prefix whoever stands before it has put there."""
    try:
        parts = urlsplit(urljoin(begun_at, location))
    except ValueError:
        return None
    path = f"{parts.path}?{parts.query}" if parts.query else parts.path
    path = path[max(path.find(f"{begun_at}/"), 0) :]
    return path if location and _is_path(path) else None


def _is_path(text: str) -> bool:
    """Whether it leads to this server, and nowhere else."""
    return _PATH.fullmatch(text) is not None and len(text) <= ADDRESS_CHARS_MAX
