"""Hold uploads back while a server stores images but makes none of them searchable.

Sploot never repeats an embedding that has failed: only deleting the image and sending it again helps. So each upload
while its model is down is lost to search.
"""

import asyncio
import secrets
from collections.abc import Iterable

from splootd.clock import Clock
from splootd.core.embedding_failures import EmbeddingFailures
from splootd.errors import ResourceExhausted, ServerError
from splootd.logs import get_logger
from splootd.remote.client import SplootClient
from splootd.remote.responses import EmbeddingReport, EmbeddingStatus
from splootd.upload.admission import AdmissionController


class EmbeddingHold:
    """Counts embeddings that fail in a row, and probes the model with a search that no cache can answer."""

    def __init__(self, client: SplootClient, admission: AdmissionController, clock: Clock) -> None:
        self._client = client
        self._admission = admission
        self._clock = clock
        self._failures = EmbeddingFailures()
        self._is_suspect = asyncio.Event()  # set until the model is known to work
        self._probe_at = 0.0  # monotonic
        self._log = get_logger("tracker")

    def observe(self, reports: Iterable[EmbeddingReport]) -> None:
        """Record the final ones of `reports`, in this order: hold uploads back, or release them."""
        for report in reports:
            if report.status is EmbeddingStatus.READY:
                self._failures.record_ready()
                self._release()
            elif report.status is EmbeddingStatus.FAILED:
                is_suspect = self._failures.record_failed()
                if is_suspect and not self._is_suspect.is_set():  # else the next probe decides
                    cause = f" ({report.error})" if report.error else ""
                    self._suspect(f"{self._failures.count} embeddings failed in a row{cause}")

    async def run(self) -> None:
        """Probe the model whenever a hold is due for it."""
        while True:
            await self._is_suspect.wait()
            await asyncio.sleep(max(0.0, self._probe_at - self._clock.monotonic()))
            await self._admission.wait_until_reachable()
            if self._is_suspect.is_set():
                await self._probe()

    async def _probe(self) -> None:
        try:
            await self._client.search(secrets.token_hex(8), 1)
        except (ServerError, ResourceExhausted) as error:
            self._suspect(f"the server fails to make images searchable ({error.title})")
        else:
            self._release()

    def _suspect(self, title: str) -> None:
        """Probe the model now, and hold uploads back if it is not the first time since an embedding was ready."""
        delay_s = self._failures.next_delay_s()
        self._probe_at = self._clock.monotonic() + delay_s
        self._is_suspect.set()
        if delay_s:
            self._log.warning("uploads held back", reason=title, probe_in_s=delay_s)
            self._admission.hold_for_embeddings(f"{title}: further files would not be found", self._probe_at)

    def _release(self) -> None:
        if self._is_suspect.is_set():
            self._is_suspect.clear()
            self._admission.release_embeddings()
