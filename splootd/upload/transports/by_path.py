"""Upload by path: a server on this machine reads the files itself, so no file data passes through a socket."""

import contextlib
import itertools
import math
from collections.abc import Sequence

from splootd.clock import Clock
from splootd.errors import ConnectionLost, InternalServerError, InvalidResponse
from splootd.remote.client import SplootClient
from splootd.remote.responses import StoredAsset
from splootd.upload.delivery import UploadJob, UploadResult, create_form_parts
from splootd.upload.request_batcher import RequestBatcher
from splootd.weighted_semaphore import WeightedSemaphore

UPLOAD_BY_PATH_BYTES_MAX = 32 * 1024 * 1024  # of files per request, so that urgent files never wait long
REQUESTS_MAX = 2  # per priority: while the server syncs the files of one request, it copies those of the next
FAILURES_MAX = 3  # consecutive requests; then file data is sent instead
FALLBACK_S = 60.0  # how long file data is sent before uploads by path are tried again

_Result = UploadResult | None


class PathUploader:
    """Uploads batches of jobs by path. Batches that wait at the same time share a request."""

    def __init__(self, client: SplootClient, upload_slots: WeightedSemaphore, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._upload_slots = upload_slots
        self._batchers: dict[int, RequestBatcher[Sequence[UploadJob], Sequence[_Result]]] = {}  # by priority
        self._failures = 0
        self._disabled_until = -math.inf  # monotonic

    @property
    def files_max(self) -> int:
        """The number of files that one request may list; 0 if file data is to be sent instead."""
        limits = self._client.last_limits
        return limits.upload_by_path_max if limits and self._clock.monotonic() >= self._disabled_until else 0

    async def upload(self, jobs: Sequence[UploadJob]) -> Sequence[_Result]:
        """Upload files by path and return the results in order.

        None means that the server did not store the file, or that the outcome is unknown: the caller sends it as data,
        after a lookup by hash.
        """
        priority = jobs[0].priority
        batcher = self._batchers.get(priority)
        if batcher is None:
            batcher = self._batchers[priority] = RequestBatcher(
                self._send,
                acquire_slot=lambda: self._upload_slots.reserve(1, rank=priority),
                get_batch_size=self._get_batch_size,
                requests_max=REQUESTS_MAX,
            )
        return await batcher.submit(jobs, check_admission=jobs[0].check_admission)

    async def _send(self, groups: Sequence[Sequence[UploadJob]]) -> Sequence[Sequence[_Result]]:
        if not self.files_max:  # disabled after the failures of earlier requests
            return [[None] * len(group) for group in groups]
        jobs = [job for group in groups for job in group]
        with contextlib.ExitStack() as transfers:
            files = create_form_parts(jobs, transfers)
            try:
                responses = await self._client.upload_by_path(files)
            except (ConnectionLost, InternalServerError, InvalidResponse):
                self._failures += 1
                if self._failures >= FAILURES_MAX:
                    self._disabled_until = self._clock.monotonic() + FALLBACK_S
                return [[None] * len(group) for group in groups]
        self._failures = 0
        results = iter([_to_upload_result(job, response) for job, response in zip(jobs, responses, strict=True)])
        return [list(itertools.islice(results, len(group))) for group in groups]

    def _get_batch_size(self, waiting: Sequence[Sequence[UploadJob]]) -> int:
        """Return how many of the first groups fit into one request."""
        files, size, count = 0, 0, 0
        for group in waiting:
            files += len(group)
            size += sum(job.content.size for job in group)
            if files > self.files_max or size > UPLOAD_BY_PATH_BYTES_MAX:
                break
            count += 1
        return min(len(waiting), max(1, count))


def _to_upload_result(job: UploadJob, stored: StoredAsset | Exception) -> _Result:
    if not isinstance(stored, StoredAsset):
        return None
    return UploadResult(stored.asset_id, stored.is_duplicate, has_embedding=False, sent_bytes=job.content.size)
