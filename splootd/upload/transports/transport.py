"""The signature of the four transports."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from splootd.errors import ConnectionLost, InternalServerError, InvalidResponse, ServerError
from splootd.metrics import MetricsCollector, Transfer
from splootd.upload.upload_job import UploadJob

UNKNOWN_OUTCOME_ERRORS = (ConnectionLost, InternalServerError, InvalidResponse)
"""After one of these the server may have stored the file: the response was lost, or it was sent after the commit. The
file must not be sent again before a lookup by hash."""


@dataclass(frozen=True, slots=True)
class UploadResult:
    """A content that is now in the library, with the number of bytes sent for it.

    Sploot begins on the embedding after its response to an upload, but not if the client has gone by then: of a content
    that was found without an embedding, it was perhaps never requested.
    """

    asset_id: str
    is_duplicate: bool
    sent_bytes: int
    has_embedding: bool = False
    is_embedding_requested: bool = True


class SharedRequestFailed(Exception):
    """A request with several files failed. Each file must be sent alone, after a lookup by hash."""

    def __init__(self, error: ServerError) -> None:
        self.error = error


class Transport(Protocol):
    """One way to send contents to the server."""

    async def send(self, jobs: Sequence[UploadJob]) -> Sequence[UploadResult | ServerError]:
        """Send the contents and return a result for each, in order. An error that is raised concerns all of them."""


def start_transfer(
    metrics: MetricsCollector, job: UploadJob, *, shares_request: bool = False
) -> AbstractContextManager[Transfer]:
    """Register a job as in progress. `shares_request`: its connection is already counted for another job."""
    content = job.content
    return metrics.transfer(content.path, content.size, retries=job.leased.item.attempts, shares_request=shares_request)
