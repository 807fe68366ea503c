"""The Sploot server, seen from here: one method per question."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from splootd.clock import Clock
from splootd.core.timetable import Timetable
from splootd.credentials import Credentials
from splootd.errors import BadAnswer, ServerError, SignedOut
from splootd.metrics.calls import Calls
from splootd.remote.answers import (
    EmbeddingReport,
    EmbeddingStatus,
    Found,
    Limits,
    Match,
    Stored,
    all_found_of,
    asset_of,
    found_of,
    limits_of,
    matches_of,
    outcomes_of,
    page_of,
    printable,
    reports_of,
    stored_of,
)
from splootd.remote.forms import Body, Enclosed, Form, form_of, named
from splootd.remote.lines import Lines, Response, trust
from splootd.remote.measured import measured
from splootd.remote.throttle import Throttle
from splootd.remote.translated import translated
from splootd.remote.verdict import Answer, error_of, error_of_upload, stored_or_not
from splootd.work.files import Content, called

CONNECTIONS_MAX = 4  # of the whole program
READ_S = 70.0  # Sploot may work on an upload for 60 s
CONTROL_READ_S = 30.0
SLOWEST_BYTES_PER_S = 8_000
ANSWER_BYTES_MAX = 4_000_000


@dataclass(frozen=True, slots=True)
class _Question:
    method: str
    path: str
    headers: Mapping[str, str]
    body: Body
    deadline_s: float  # for all of it, the answer included


class Server:
    """Speaks to one Sploot, over TCP or a Unix socket. Every method raises ServerErrors or Exhausted, nothing else.

    The program as a whole holds at most `connections` lines: one carries the signs of life (limits, health, statuses,
    search), which must never wait behind an upload, and `uploads_max` carry uploads with their checks.
    """

    def __init__(
        self,
        url: str,
        *,
        credentials: Credentials,
        connections: int,
        socket: Path | None = None,
        throttle: Throttle | None = None,
    ) -> None:
        self.calls = Calls()
        self.throttle = throttle or Throttle(Timetable(), Clock())
        self.uploads_max = max(1, min(connections, CONNECTIONS_MAX) - 1)
        self.last_limits: Limits | None = None
        self._credentials = credentials
        self._is_here = socket is not None
        self._name = "the library" if socket else printable(httpx.URL(url).host)
        base = "http://library" if socket else url
        verify = trust(base)
        self._uploads = Lines(base, socket=socket, verify=verify, connections=self.uploads_max, read_s=READ_S)
        self._control = Lines(base, socket=socket, verify=verify, connections=1, read_s=CONTROL_READ_S)

    def __repr__(self) -> str:
        return f"Server({self._name})"

    @measured
    async def limits(self) -> Limits:
        """What it takes. Sploot makes the row of a new user in this call: let it be the first, and alone."""
        limits = limits_of(await self._ask(self._control, "GET", "/api/upload"))
        if not self._is_here:  # it cannot open our files, and need not know how they are called
            limits = replace(limits, features={**limits.features, "handOver": 0})
        self.last_limits = limits
        return limits

    @measured
    async def check(self, sha256: bytes, *, aside: bool = False) -> Found | None:
        """Whether it has the content; `aside` asks without waiting behind uploads."""
        asked = {"checksum": sha256.hex()}  # Sploot finds no upper-case digits
        return found_of(await self._ask(self._control if aside else self._uploads, "POST", "/api/upload/check", asked))

    @measured
    async def check_batch(self, checksums: Sequence[bytes]) -> list[Found | None]:
        """As `check` aside, of several in one request: at most as many as `Limits` say."""
        asked = [each.hex() for each in checksums]
        answer = await self._ask(self._control, "POST", "/api/upload/check/batch", {"checksums": asked})
        return all_found_of(answer, asked)

    @measured
    async def upload(
        self, content: Content, *, tags: Sequence[str] = (), sent: Callable[[int], None] = lambda _: None
    ) -> Stored:
        """Send it; `sent` hears how many bytes of the file have gone out. FileChanged when it is no longer the same.

        Never with `sync_embeddings`: Sploot loses the picture when that fails.
        """
        form = await form_of([Enclosed(content, tags, sent)], self.throttle)
        answer = await self._exchange(self._uploads, _sending("/api/upload", form))
        if error := error_of_upload(answer, called(content.path)):
            raise error
        sent(content.size)
        return stored_of(answer.json(), sha256=content.sha256)

    @measured
    async def exchange(
        self, method: str, path: str, headers: Mapping[str, str], body: Body = b"", *, size: int = 0
    ) -> Answer:
        """One request of a resumable upload, with a body of `size` bytes; the answer, whatever it is."""
        deadline_s = READ_S + size / SLOWEST_BYTES_PER_S
        return await self._exchange(self._uploads, _Question(method, path, headers, body, deadline_s))

    @measured
    async def upload_bundle(self, files: Sequence[Enclosed]) -> list[Stored | ServerError]:
        """Send several files in one request; what has become of each. At most as many as `Limits` say."""
        answer = await self._exchange(
            self._uploads, _sending("/api/upload/bundle", await form_of(files, self.throttle))
        )
        outcomes = outcomes_of(_judged(answer), len(files))
        for each in files:
            each.sent(each.content.size)
        return _stored(files, outcomes)

    @measured
    async def hand_over(self, files: Sequence[Enclosed]) -> list[Stored | ServerError]:
        """Name files of this machine, at most as many as `Limits` say; what has become of each."""
        body = json.dumps({"files": [named(each) for each in files]}).encode()
        deadline_s = READ_S + sum(each.content.size for each in files) / SLOWEST_BYTES_PER_S
        question = _Question("POST", "/api/upload/files", {"content-type": "application/json"}, body, deadline_s)
        return _stored(files, outcomes_of(_judged(await self._exchange(self._uploads, question)), len(files)))

    @measured
    async def statuses(self, asset_ids: Sequence[str]) -> Mapping[str, EmbeddingReport]:
        """How far the embeddings are, for at most 50 assets. Where `Limits` say so, READY may be untrue."""
        path = "/api/assets/batch/embedding-status"
        return reports_of(await self._ask(self._control, "POST", path, {"assetIds": list(asset_ids)}), asset_ids)

    @measured
    async def newest(self, limit: int, offset: int = 0) -> Mapping[str, EmbeddingReport]:
        """The truth about the embeddings of the newest assets, or of those that follow the newest `offset`."""
        path = f"/api/assets?limit={limit}&offset={offset}&sortBy=createdAt&sortOrder=desc"
        return page_of(await self._ask(self._control, "GET", path))

    @measured
    async def embedding(self, asset_id: str) -> EmbeddingReport:
        """The truth about one embedding."""
        path = f"/api/assets/{quote(asset_id, safe='')}"
        answer = await self._exchange(self._control, _Question("GET", path, {}, b"", CONTROL_READ_S))
        if answer.status == httpx.codes.NOT_FOUND and not answer.is_signed_out and answer.words:
            return EmbeddingReport(EmbeddingStatus.UNKNOWN)
        return asset_of(_judged(answer))

    @measured
    async def embed_again(self, asset_id: str) -> None:
        """Have an embedding made that does not come by itself. Sploot answers when it is made, or has failed."""
        path = f"/api/assets/{quote(asset_id, safe='')}/generate-embedding"
        await self._ask(self._uploads, "POST", path, {})

    @measured
    async def search(self, text: str, limit: int) -> list[Match]:
        return matches_of(await self._ask(self._control, "POST", "/api/search", {"query": text, "limit": limit}))

    @measured
    async def remove(self, asset_id: str) -> None:
        """Delete an asset for good."""
        await self._ask(self._control, "DELETE", f"/api/assets/{quote(asset_id, safe='')}?permanent=true")

    @measured
    async def health(self) -> None:
        """Whether it answers at all."""
        await self._ask(self._control, "GET", "/api/health")

    async def renew(self) -> None:
        """After a sleep, or on another network: use fresh lines from now on."""
        await self._uploads.renew()
        await self._control.renew()

    async def close(self) -> None:
        await self._uploads.close()
        await self._control.close()

    async def _ask(self, lines: Lines, method: str, path: str, value: Any = None) -> Any:
        """The JSON that answers a small question."""
        return _judged(await self.answer(method, path, value, lines=lines))

    async def answer(self, method: str, path: str, value: Any = None, *, lines: Lines | None = None) -> Answer:
        """The answer to a small question, whatever it is; without `lines` it does not wait behind uploads."""
        lines, body = lines or self._control, b"" if value is None else json.dumps(value).encode()
        headers = {"content-type": "application/json"} if body else {}
        return await self._exchange(lines, _Question(method, path, headers, body, lines.read_s))

    @contextlib.asynccontextmanager
    async def opened(self, path: str, headers: Mapping[str, str]) -> AsyncIterator[Response]:
        """The head of what lies at `path`, which may be large and travels as uploads do; the rest is to be read."""
        with translated(self._name):
            mine = {**headers, **_authorization(await self._credentials.token())}
            async with self._uploads.stream("GET", path, headers=mine, content=b"") as response:
                yield response

    async def _exchange(self, lines: Lines, question: "_Question") -> Answer:
        """Ask, and if the server does not know us, ask once more with the next token."""
        with translated(self._name):
            token = await self._credentials.token()
        answer = await self._once(lines, question, token)
        if answer.is_signed_out and (other := await self._token_after(token)):
            answer = await self._once(lines, question, other)
        return answer

    async def _token_after(self, refused: str | None) -> str | None:
        """Another token to try, if there is one. Of all whose token was refused at once, the first renews it."""
        with translated(self._name):
            if await self._credentials.token() == refused:
                await self._credentials.renew()
            token = await self._credentials.token()
        return None if token == refused else token

    async def _once(self, lines: Lines, question: "_Question", token: str | None) -> Answer:
        body = question.body if isinstance(question.body, bytes) else question.body()
        with translated(self._name):
            headers = {**question.headers, **_authorization(token)}
            async with (
                asyncio.timeout(question.deadline_s),
                lines.stream(question.method, question.path, headers=headers, content=body) as response,
            ):
                return Answer(response.status_code, response.headers, await _bounded(response))


def _authorization(token: str | None) -> dict[str, str]:
    if token is None:
        return {}
    if not token.isascii() or not token.isprintable():
        raise SignedOut("the token holds characters that no token has", "sign in again: `sploot login`")
    return {"authorization": f"Bearer {token}"}


async def _bounded(response: Response) -> bytes:
    body = bytearray()
    if response.headers.get("content-encoding", "identity") != "identity":
        raise BadAnswer("the server's answer is compressed, which was not asked for", status=response.status_code)
    async for piece in response.aiter_raw():
        body += piece
        if len(body) > ANSWER_BYTES_MAX:
            raise BadAnswer("the server's answer does not end", status=response.status_code)
    return bytes(body)


def _sending(path: str, form: Form) -> _Question:
    return _Question("POST", path, form.headers, form.body, READ_S + form.size / SLOWEST_BYTES_PER_S)


def _stored(files: Sequence[Enclosed], outcomes: Sequence[Mapping[str, Any]]) -> list[Stored | ServerError]:
    """Those that it has have gone out in full."""
    stored = [
        stored_or_not(outcome, name=called(each.content.path), sha256=each.content.sha256)
        for each, outcome in zip(files, outcomes, strict=True)
    ]
    for each, outcome in zip(files, stored, strict=True):
        if isinstance(outcome, Stored):
            each.sent(each.content.size)
    return stored


def _judged(answer: Answer) -> Any:
    if error := error_of(answer):
        raise error
    return answer.json()
