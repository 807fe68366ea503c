"""Upload by path: a server on this machine reads the files itself, so no file data passes through a socket."""

import math
from collections.abc import Iterator, Sequence

from splootd.clock import Clock
from splootd.core.item import Leased
from splootd.errors import ServerError
from splootd.metrics import MetricsCollector
from splootd.remote.client import SplootClient
from splootd.remote.responses import StoredAsset
from splootd.remote.upload_body import FormPart, ProgressCallback
from splootd.upload.admission import AdmissionController
from splootd.upload.transports.shared_request import SharedRequestTransport
from splootd.upload.transports.transport import SharedRequestFailed
from splootd.weighted_semaphore import WeightedSemaphore

UPLOAD_BY_PATH_BYTES_MAX = 32 * 1024 * 1024  # of files per request, so that urgent files never wait long
FAILURES_MAX = 3  # consecutive requests; then file data is sent instead
FALLBACK_S = 60.0  # how long file data is sent before uploads by path are tried again


class PathTransport(SharedRequestTransport):
    """Sends the paths of files. A file that the server could not store is to be sent as data."""

    requests_max = 2  # per priority: while the server syncs the files of one request, it copies those of the next

    def __init__(
        self,
        client: SplootClient,
        upload_slots: WeightedSemaphore,
        admission: AdmissionController,
        metrics: MetricsCollector,
        clock: Clock,
    ) -> None:
        super().__init__(client, upload_slots, admission, metrics)
        self._clock = clock
        self._disabled_until = -math.inf  # monotonic

    @property
    def files_max(self) -> int:
        """The number of files that one request may list; 0 if file data is to be sent instead."""
        limits = self._client.last_limits
        return limits.upload_by_path_max if limits and self._clock.monotonic() >= self._disabled_until else 0

    def split_into_requests(self, items: Sequence[Leased]) -> Iterator[Sequence[Leased]]:
        """Split items into requests, each of one priority, small files before large ones."""
        part: list[Leased] = []
        size = 0
        for leased in sorted(
            items, key=lambda each: (each.item.priority, each.item.version.size > UPLOAD_BY_PATH_BYTES_MAX)
        ):
            size += leased.item.version.size
            if part and (not self._fits(len(part) + 1, size) or part[0].item.priority != leased.item.priority):
                yield part
                part, size = [], leased.item.version.size
            part.append(leased)
        if part:
            yield part

    async def _request(self, files: Sequence[FormPart], _: ProgressCallback) -> Sequence[StoredAsset | ServerError]:
        if not self.files_max:  # disabled after the failures of earlier requests
            raise SharedRequestFailed(ServerError("uploads by path failed before"))
        return await self._client.upload_by_path(files)

    def _disable_after_failures(self) -> None:
        if self._failures >= FAILURES_MAX:
            self._disabled_until = self._clock.monotonic() + FALLBACK_S

    def _fits(self, files: int, size: int) -> bool:
        return files <= self.files_max and size <= UPLOAD_BY_PATH_BYTES_MAX
