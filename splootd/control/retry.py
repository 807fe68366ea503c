"""`sploot retry --all`: requeue the failed items that a retry can help, and count the others by their error."""

import asyncio
from collections import Counter
from collections.abc import Sequence

from splootd.control.context import Context
from splootd.control.remedies import can_retry
from splootd.core.item import Item, State
from splootd.protocol import PAGE_MAX
from splootd.store.read_queries import ItemFilter


async def retry_failed(context: Context) -> tuple[list[int], dict[str, int]]:
    """Return the ids of the requeued items, and the number of the others by error code: their files must change."""
    retried_ids: list[int] = []
    left_counts: Counter[str] = Counter()
    after: int | None = 0
    while after is not None:
        page = await context.read_queries.page_after(ItemFilter(State.FAILED), after=after, limit=PAGE_MAX)
        retryable = await asyncio.to_thread(_select_retryable, page.items)
        retried_ids += await context.queue.requeue(ids=[each.id for each in retryable], now=context.clock.now())
        left_counts.update(str(each.error_code) for each in page.items)
        left_counts.subtract(str(each.error_code) for each in retryable)
        after = page.next
    return retried_ids, dict(+left_counts)


def _select_retryable(items: Sequence[Item]) -> Sequence[Item]:
    return [each for each in items if can_retry(each, read_file=True)]
