"""Poll embedding statuses from the sources that the server answers: each of them may fail or be missing.

The statuses of some servers are reliable: a batch of 50 ids is enough. Sploot itself reports a failed embedding as
`ready`, and only its asset list and its single assets are correct. There one page of the list covers up to 1,000 new
assets, a batch finds out which of the older ones have ended, and single requests confirm how.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from http import HTTPStatus
from typing import TypeVar

from splootd.clock import Clock
from splootd.core.embedding_polling import IDS_PER_POLL_MAX, PAGE_SIZES, PageCursor, page_size_for
from splootd.core.status_sources import SourceHealth, StatusSource
from splootd.errors import ConnectionLost, InternalServerError, InvalidResponse, ServerError, Unauthenticated
from splootd.logs import get_logger
from splootd.remote.client import SplootClient
from splootd.remote.responses import EmbeddingReport, EmbeddingStatus
from splootd.store.queue import PendingEmbedding, Queue

T = TypeVar("T")

PAGE_SIZE_MAX = PAGE_SIZES[-1]
SINGLE_QUERIES_MAX = 10  # requests about single assets per round
UNCONFIRMED_AFTER_FAILURES = 3  # of single requests: then a batch is believed without a confirmation

SOURCE_ERRORS = (ConnectionLost, InternalServerError, InvalidResponse)
"""Errors that may concern one request only. After any other error, each request would fail."""

Record = Callable[[Sequence[PendingEmbedding], Mapping[str, EmbeddingReport]], Awaitable[None]]


class StatusPoller:
    """Asks for embedding statuses, and passes the reports to `record`, or to `postpone` what cannot be polled now.

    It calls `wait_for_rate_limit` before each request.
    """

    def __init__(
        self,
        queue: Queue,
        client: SplootClient,
        clock: Clock,
        *,
        record: Record,
        postpone: Callable[[Sequence[PendingEmbedding]], Awaitable[None]],
        wait_for_rate_limit: Callable[[], Awaitable[None]],
    ) -> None:
        self._queue = queue
        self._client = client
        self._clock = clock
        self._record = record
        self._postpone = postpone
        self._wait_for_rate_limit = wait_for_rate_limit
        self._pages = PageCursor(PAGE_SIZE_MAX)
        self._health = SourceHealth()
        self._failed: dict[StatusSource, ServerError] = {}  # in this round
        self._has_answer = False  # a source has answered in this round
        self._log = get_logger("tracker")

    async def poll(self, due: Sequence[PendingEmbedding], *, is_reliable: bool) -> None:
        """Ask for the due embeddings. Raises ServerError if no source answered; the embeddings stay due."""
        self._failed, self._has_answer = {}, False
        if not is_reliable:
            await self._poll_unreliable(due)
        elif (reports := await self._query_batch(due)) is not None:
            copies = await self._queue.embeddings_by_asset_id([each.asset_id for each in due])
            await self._record(copies, reports)
        else:
            await self._poll_singles(await self._poll_list(due))
        if not self._has_answer and self._failed:
            raise next(reversed(self._failed.values()))
        for source, error in self._failed.items():
            self._record_failure(source, error)

    async def _poll_unreliable(self, due: Sequence[PendingEmbedding]) -> None:
        """Poll the list; ask for assets that are not on it in a batch, and for those that have ended one by one."""
        older = (await self._poll_list(due))[:IDS_PER_POLL_MAX]
        if not older:
            return
        reports = await self._query_batch(older)
        if reports is None:
            ended = older
        else:
            ended = [each for each in older if _has_ended(reports.get(each.asset_id))]
            await self._record([each for each in older if each not in ended], reports)
        if not await self._poll_singles(ended) and reports is not None and self._is_unconfirmable:
            await self._record(ended, reports)

    @property
    def _is_unconfirmable(self) -> bool:
        """Whether only batches work, so that a failed embedding cannot be told from a finished one."""
        return self._health.count_failures(StatusSource.SINGLE_ASSET) >= UNCONFIRMED_AFTER_FAILURES

    async def _poll_list(self, due: Sequence[PendingEmbedding]) -> Sequence[PendingEmbedding]:
        """Poll the newest assets. Return the due embeddings to ask for in another way.

        If many are older, continue with one more page in each round instead.
        """
        newest = await self._query(StatusSource.ASSET_LIST, self._fetch_newest)
        if newest is None:
            return due
        size, page = newest
        await self._record_all(page)
        older = [each for each in due if each.asset_id not in page]
        if len(older) > SINGLE_QUERIES_MAX and len(page) == size and self._pages.offset is not None:
            offset = max(self._pages.offset, size)
            request = partial(self._client.newest_embedding_statuses, PAGE_SIZE_MAX, offset)
            if (next_page := await self._query(StatusSource.ASSET_LIST, request)) is not None:
                matches = await self._record_all(next_page)
                self._pages.advance(offset, rows=len(next_page), matches=matches)
                return []
        self._pages.reset()
        return older

    async def _fetch_newest(self) -> tuple[int, Mapping[str, EmbeddingReport]]:
        """Fetch the newest assets, as many as are pending by now. Return the size of the page and its reports."""
        size = page_size_for(await self._queue.count_pending_embeddings(limit=PAGE_SIZE_MAX))
        return size, await self._client.newest_embedding_statuses(size)

    async def _query_batch(self, due: Sequence[PendingEmbedding]) -> Mapping[str, EmbeddingReport] | None:
        asset_ids = list(dict.fromkeys(each.asset_id for each in due))[:IDS_PER_POLL_MAX]
        return await self._query(StatusSource.BATCH, partial(self._client.embedding_statuses, asset_ids))

    async def _poll_singles(self, older: Sequence[PendingEmbedding]) -> bool:
        """Ask for single assets and record their statuses. Return False after a failure: the asset is postponed."""
        for each in older[:SINGLE_QUERIES_MAX]:
            asset_id = each.asset_id
            report = await self._query(StatusSource.SINGLE_ASSET, partial(self._client.embedding_status, asset_id))
            if report is None:
                await self._postpone([each])
                return False
            await self._record([each], {asset_id: report})
        return True

    async def _record_all(self, reports: Mapping[str, EmbeddingReport]) -> int:
        """Record the reports for all pending embeddings of these assets, due or not. Return the number of them."""
        found = await self._queue.embeddings_by_asset_id(reports)
        await self._record(found, reports)
        return len(found)

    async def _query(self, source: StatusSource, request: Callable[[], Awaitable[T]]) -> T | None:
        """Send a request to `source`; None if the source has failed, now or before.

        Raises ServerError if the failure concerns every request.
        """
        if not self._health.is_usable(source, self._clock.monotonic()):
            return None
        await self._wait_for_rate_limit()
        try:
            response = await request()
        except SOURCE_ERRORS as error:
            self._failed[source] = error
            return None
        except Unauthenticated as error:
            if error.status != HTTPStatus.FORBIDDEN:  # a 403 may be a firewall's, about this request only
                raise
            self._failed[source] = error
            return None
        self._has_answer = True
        if self._health.count_failures(source):
            self._log.info("embedding statuses available again", source=source.value)
        self._health.record_success(source)
        return response

    def _record_failure(self, source: StatusSource, error: ServerError) -> None:
        """Remember a source that failed while another one answered, and log the first of its failures."""
        if not self._health.count_failures(source):
            self._log.warning(
                "embedding statuses unavailable, using other requests", source=source.value, error=error.title
            )
        self._health.record_failure(source, self._clock.monotonic())


def _has_ended(report: EmbeddingReport | None) -> bool:
    return report is not None and report.status in {EmbeddingStatus.READY, EmbeddingStatus.FAILED}
