"""Record the results of upload attempts: map each error to a queue transition and a message."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from secrets import token_bytes
from typing import ParamSpec

from splootd.clock import Clock
from splootd.core.backoff import delay_s, has_exhausted_attempts
from splootd.core.error_code import ErrorCode
from splootd.core.item import Leased, Version
from splootd.core.retry_policy import RETRY_POLICY, BackoffClass, RetryAction
from splootd.errors import (
    FileError,
    ItemError,
    StoreFull,
)
from splootd.file_reader import stat_version_in_thread, stat_versions_in_thread
from splootd.metrics import MetricsCollector
from splootd.store.completion import Accepted
from splootd.store.ledger import Ledger
from splootd.store.queue import Queue
from splootd.text import display_name, printable
from splootd.upload.admission import AdmissionController
from splootd.upload.upload_job import AttemptResult, Changed, Crashed, Failed, Released, Removed

UNKNOWN_OUTCOME_CODES = frozenset(
    {
        ErrorCode.CONNECTION_LOST,
        ErrorCode.SERVER_ERROR,
        ErrorCode.SERVER_UNAVAILABLE,
        ErrorCode.INVALID_RESPONSE,
        ErrorCode.INTERRUPTED,
    }
)
"""Errors after which the content may have been stored. If it is found later, it is our own upload and no duplicate."""

_ATTEMPTS_EXHAUSTED_HINT = (
    "other requests to the server succeed, so this file is the likely cause. It may have been removed from the library"
    " before; if not, `sploot retry`"
)

P = ParamSpec("P")

STORE_FULL_RETRY_S = 5.0  # between two attempts to record a result


class _InternalError(ItemError):
    error_code = ErrorCode.INTERRUPTED


class ResultHandler:
    """Records how an attempt ended in the queue, and reports failures of the server to the admission controller."""

    def __init__(
        self,
        queue: Queue,
        ledger: Ledger,
        admission: AdmissionController,
        clock: Clock,
        metrics: MetricsCollector,
        *,
        settle_s: float,
    ) -> None:
        self._queue = queue
        self._ledger = ledger
        self._admission = admission
        self._clock = clock
        self._metrics = metrics
        self._settle_s = settle_s

    async def record(self, *results: AttemptResult) -> None:
        """Record how attempts ended. Nothing else writes the results of uploads."""
        confirmed = await self._confirm(results)
        if accepted := [each for each in confirmed if isinstance(each, Accepted)]:
            await self._accept(accepted)
        others = [each for each in confirmed if not isinstance(each, Accepted)]
        if len(others) == 1:  # without a task: the admission controller learns of a failure before the next request
            await self._end(others[0])
        elif others:
            await asyncio.gather(*(self._end(each) for each in others))

    async def _confirm(self, results: Sequence[AttemptResult]) -> Sequence[AttemptResult]:
        """Replace each accepted file that changed during the upload by its new version.

        A file that is gone by now stays accepted: its content is in the library.
        """
        paths = [each.leased.item.path for each in results if isinstance(each, Accepted)]
        versions = iter(await stat_versions_in_thread(paths) if paths else ())
        return [_confirm_version(each, next(versions)) if isinstance(each, Accepted) else each for each in results]

    async def _accept(self, batch: Sequence[Accepted]) -> None:
        completed = [
            replace(each, duplicate=each.duplicate and each.leased.item.error_code not in UNKNOWN_OUTCOME_CODES)
            for each in batch
        ]
        with self._metrics.utilization.track("writing"):
            if len(completed) > 1:
                await _write_with_retry(self._queue.accept_batch, completed, now=self._clock.now())
                return
            (only,) = completed
            await _write_with_retry(
                self._queue.accept,
                only.leased,
                asset_id=only.asset_id,
                sha256=only.sha256,
                duplicate=only.duplicate,
                embedded=only.embedded,
                embedding_requested=only.embedding_requested,
                now=self._clock.now(),
            )

    async def _end(self, result: AttemptResult) -> None:
        match result:
            case Removed(leased, sha256):
                await self._skip_removed(leased, sha256)
            case Changed(leased, version, error_message):
                await self._snooze_changed(leased, version, error_message)
            case Released(leased, error_message, next_at):
                await self._snooze(leased, ErrorCode.INTERRUPTED, error_message, next_at=next_at)
            case Failed(leased, error, sha256):
                await self._handle_error(leased, error, sha256)
            case Crashed(leased, error):
                title = f"internal error while uploading {display_name(leased.item.path)} ({printable(repr(error))})"
                await self._retry(leased, _InternalError(title, "please report it, with the log"))

    async def _skip_removed(self, leased: Leased, sha256: bytes) -> None:
        """Skip an item that was removed from the library, and record the removal in the ledger."""
        name, now = display_name(leased.item.path), self._clock.now()
        error_message = f"{name} was removed from the library: to upload it again, use `sploot add --force`"
        await _write_with_retry(self._ledger.mark_removed, sha256, now=now)
        await _write_with_retry(
            self._queue.skip, leased, error_code=ErrorCode.REMOVED, error_message=error_message, now=now
        )

    async def _snooze_changed(self, leased: Leased, version: Version, error_message: str) -> None:
        """Snooze a file that has changed since it was claimed, until its new version has settled."""
        await self._snooze(
            leased, ErrorCode.INTERRUPTED, error_message, next_at=self._clock.now() + self._settle_s, version=version
        )

    async def _handle_error(self, leased: Leased, error: ItemError, sha256: bytes | None = None) -> None:
        """Handle the error that ended an attempt. `sha256` is that of the file, if it was known by then."""
        refunded = set(self._admission.record_error(error, item_id=leased.item.id, content=sha256 or token_bytes(8)))
        self._metrics.errors[error.error_code] += 1
        action = RETRY_POLICY[error.error_code].action
        if action is RetryAction.RETRY and leased.item.id in refunded:
            action = RetryAction.SNOOZE
        await self._apply_action(leased, error, action)
        if other_ids := refunded - {leased.item.id}:
            await _write_with_retry(self._queue.refund_attempts, other_ids, now=self._clock.now())

    async def _apply_action(self, leased: Leased, error: ItemError, action: RetryAction) -> None:
        error_code, error_message, now = error.error_code, format_error(error), self._clock.now()
        match action:
            case RetryAction.RETRY:
                await self._retry(leased, error)
            case RetryAction.SNOOZE if isinstance(error, FileError):
                await self._recheck_file(leased, error_message)
            case RetryAction.SNOOZE:
                await self._snooze(
                    leased, error_code, error_message, next_at=self._get_snooze_until(leased.item.attempts, error_code)
                )
            case RetryAction.DISCARD | RetryAction.SKIP:
                write = self._queue.discard if action is RetryAction.DISCARD else self._queue.skip
                await _write_with_retry(write, leased, error_code=error_code, error_message=error_message, now=now)
            case RetryAction.FILE_MISSING:
                await _write_with_retry(self._queue.file_missing, leased, error_message=error_message, now=now)

    async def _retry(self, leased: Leased, error: ItemError) -> None:
        error_code, error_message, now = error.error_code, format_error(error), self._clock.now()
        attempts = leased.item.attempts + 1
        if has_exhausted_attempts(attempts=attempts, priority=leased.item.priority):
            advice = error.hint if isinstance(error, _InternalError) else _ATTEMPTS_EXHAUSTED_HINT
            error_message = f"{error.title}, in each of {attempts} attempts: {advice}"
            discard = self._queue.discard
            await _write_with_retry(discard, leased, error_code=error_code, error_message=error_message, now=now)
            return
        next_at = now + self._delay_s(attempts, RETRY_POLICY[error_code].backoff_class)
        await _write_with_retry(
            self._queue.retry, leased, error_code=error_code, error_message=error_message, next_at=next_at, now=now
        )

    async def _recheck_file(self, leased: Leased, error_message: str) -> None:
        """Read the version of a file that changed during the attempt, and snooze the item with it."""
        try:
            version = await stat_version_in_thread(leased.item.path)
        except ItemError as error:
            await self._handle_error(leased, error)
        else:
            await self._snooze_changed(leased, version, error_message)

    async def _snooze(
        self,
        leased: Leased,
        error_code: ErrorCode,
        error_message: str,
        *,
        next_at: float | None,
        version: Version | None = None,
    ) -> None:
        await _write_with_retry(
            self._queue.snooze,
            leased,
            error_code=error_code,
            error_message=error_message,
            next_at=next_at,
            now=self._clock.now(),
            version=version,
        )

    def _get_snooze_until(self, attempts: int, error_code: ErrorCode) -> float | None:
        """Return when to retry; None while admission holds back all uploads anyway, so no delay is needed."""
        if self._admission.state != "ok":
            return None
        return self._clock.now() + self._delay_s(attempts, RETRY_POLICY[error_code].backoff_class)

    def _delay_s(self, attempts: int, backoff_class: BackoffClass) -> float:
        return delay_s(attempts=attempts, backoff_class=backoff_class, chance=random.random())


def _confirm_version(accepted: Accepted, version: Version | None) -> Accepted | Changed:
    item = accepted.leased.item
    if version is None or version == item.version:
        return accepted
    error_message = f"{display_name(item.path)} changed during the upload; its new version follows"
    return Changed(accepted.leased, version, error_message)


def format_error(error: ItemError) -> str:
    """Format an error and its hint as one line."""
    return f"{error.title}: {error.hint}" if error.hint else error.title


async def _write_with_retry(write: Callable[P, Awaitable[object]], *args: P.args, **values: P.kwargs) -> None:
    """Record a result, and retry while the disk is full.

    Giving up would leave the item leased: it would stay in `uploading` until the next start of the daemon.
    """
    while True:
        try:
            await write(*args, **values)
        except StoreFull:
            await asyncio.sleep(STORE_FULL_RETRY_S)
        else:
            return
