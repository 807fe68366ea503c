"""Upload small files in bundles: several files in one request."""

from collections.abc import Sequence

from splootd.errors import ServerError
from splootd.remote.responses import StoredAsset
from splootd.remote.upload_body import FormPart, ProgressCallback
from splootd.upload.choose_transport import FORM_OVERHEAD_BYTES_MAX
from splootd.upload.transports.shared_request import SharedRequestTransport

BUNDLE_BYTES_MAX = 1024 * 1024  # of files per request, so that urgent files never wait long for a connection
BUNDLE_FAILURES_MAX = 3  # consecutive; then a proxy on the way probably rejects such requests


class BundleTransport(SharedRequestTransport):
    """Sends small contents as one form, until BUNDLE_FAILURES_MAX requests have failed."""

    is_disabled = False

    def enable(self) -> None:
        """Use bundles again: the server has reported its limits anew."""
        self._failures, self.is_disabled = 0, False

    async def _request(
        self, files: Sequence[FormPart], on_progress: ProgressCallback
    ) -> Sequence[StoredAsset | ServerError]:
        return await self._client.upload_bundle(files, on_progress=on_progress)

    def _disable_after_failures(self) -> None:
        self.is_disabled = self._failures >= BUNDLE_FAILURES_MAX

    def _fits(self, files: int, size: int) -> bool:
        limits = self._client.last_limits
        if limits is None or files > limits.bundle_files_max:
            return False
        return size + files * FORM_OVERHEAD_BYTES_MAX <= min(BUNDLE_BYTES_MAX, limits.bundle_bytes_max)
