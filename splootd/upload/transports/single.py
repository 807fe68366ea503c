"""Upload one file in one request."""

from collections.abc import Sequence

from splootd.metrics import MetricsCollector
from splootd.remote.client import SplootClient
from splootd.upload.transports.transport import UploadResult, start_transfer
from splootd.upload.upload_job import UploadJob


class SingleTransport:
    """Sends one content as a form. The caller holds an upload slot."""

    def __init__(self, client: SplootClient, metrics: MetricsCollector) -> None:
        self._client = client
        self._metrics = metrics

    async def send(self, jobs: Sequence[UploadJob]) -> Sequence[UploadResult]:
        (job,) = jobs
        with start_transfer(self._metrics, job) as transfer:
            stored = await self._client.upload(job.content, tags=job.tags, on_progress=transfer.record_progress)
        return [UploadResult(stored.asset_id, stored.is_duplicate, sent_bytes=job.content.size)]
