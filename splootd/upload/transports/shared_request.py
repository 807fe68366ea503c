"""Send the files of several upload workers in one request."""

import abc
import contextlib
import itertools
from collections.abc import Sequence

from splootd.errors import ServerError
from splootd.metrics import MetricsCollector
from splootd.remote.client import SplootClient
from splootd.remote.responses import StoredAsset
from splootd.remote.upload_body import FormPart, ProgressCallback
from splootd.upload.admission import AdmissionController
from splootd.upload.request_batcher import RequestBatcher
from splootd.upload.transports.transport import (
    UNKNOWN_OUTCOME_ERRORS,
    SharedRequestFailed,
    UploadResult,
    start_transfer,
)
from splootd.upload.upload_job import UploadJob
from splootd.weighted_semaphore import WeightedSemaphore

_Group = Sequence[UploadJob]
_Results = Sequence[UploadResult | ServerError]


class SharedRequestTransport(abc.ABC):
    """Sends groups of jobs. Groups of one priority that wait at the same time share a request.

    Each request holds one of `upload_slots`, and at most `requests_max` of a priority are in progress.
    """

    requests_max = 1

    def __init__(
        self,
        client: SplootClient,
        upload_slots: WeightedSemaphore,
        admission: AdmissionController,
        metrics: MetricsCollector,
    ) -> None:
        self._client = client
        self._upload_slots = upload_slots
        self._admission = admission
        self._metrics = metrics
        self._failures = 0  # consecutive requests
        self._batchers: dict[int, RequestBatcher[_Group, _Results]] = {}  # by priority, so that urgent files never wait

    async def send(self, jobs: Sequence[UploadJob]) -> Sequence[UploadResult | ServerError]:
        """Send the contents in one request, with those of other callers. Raises SharedRequestFailed."""
        priority = jobs[0].priority
        batcher = self._batchers.get(priority)
        if batcher is None:
            batcher = self._batchers[priority] = RequestBatcher(
                self._send_groups,
                acquire_slot=lambda: self._upload_slots.reserve(1, rank=priority),
                get_batch_size=self._get_batch_size,
                check_admission=lambda group: self._admission.check(group[0].permit),
                requests_max=self.requests_max,
            )
        return await batcher.submit(jobs)

    async def _send_groups(self, groups: Sequence[_Group]) -> Sequence[_Results]:
        jobs = [job for group in groups for job in group]
        with contextlib.ExitStack() as entered:
            in_flight = [
                entered.enter_context(start_transfer(self._metrics, job, shares_request=index > 0))
                for index, job in enumerate(jobs)
            ]
            files = [FormPart(job.content, job.tags) for job in jobs]
            try:
                responses = await self._request(files, lambda index, sent: in_flight[index].record_progress(sent))
            except UNKNOWN_OUTCOME_ERRORS as error:
                self._failures += 1
                self._disable_after_failures()
                raise SharedRequestFailed(error) from error
            for transfer, response in zip(in_flight, responses, strict=True):
                if isinstance(response, StoredAsset):
                    transfer.record_progress(transfer.size)
        self._failures = 0
        results = iter([_to_result(job, response) for job, response in zip(jobs, responses, strict=True)])
        return [list(itertools.islice(results, len(group))) for group in groups]

    def _get_batch_size(self, waiting: Sequence[_Group]) -> int:
        """Return how many of the first groups fit into one request."""
        files, size = 0, 0
        for count, group in enumerate(waiting):
            files += len(group)
            size += sum(job.content.size for job in group)
            if not self._fits(files, size):
                return max(1, count)
        return len(waiting)

    @abc.abstractmethod
    async def _request(
        self, files: Sequence[FormPart], on_progress: ProgressCallback
    ) -> Sequence[StoredAsset | ServerError]:
        """Send one request and return the response for each file."""

    @abc.abstractmethod
    def _disable_after_failures(self) -> None:
        """Stop using this transport if too many requests failed."""

    @abc.abstractmethod
    def _fits(self, files: int, size: int) -> bool:
        """Return whether one request can carry so many files of `size` bytes in total."""


def _to_result(job: UploadJob, response: StoredAsset | ServerError) -> UploadResult | ServerError:
    if isinstance(response, StoredAsset):
        return UploadResult(response.asset_id, response.is_duplicate, sent_bytes=job.content.size)
    return response
