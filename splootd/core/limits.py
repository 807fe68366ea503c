"""Upload limits of a server, and its additions to the Sploot API."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

EXTRAS = ("heif", "video")  # of this package, each with a decoder


@dataclass(frozen=True, slots=True)
class Limits:
    """The server's upload limits. `features` are its additions to Sploot's API."""

    bytes_max: int
    types: frozenset[str]
    features: Mapping[str, Any] = field(default_factory=dict)

    def without(self, feature: str) -> "Limits":
        """Return these limits for a client that does not use `feature`."""
        return replace(self, features={name: value for name, value in self.features.items() if name != feature})

    @property
    def has_reliable_embedding_states(self) -> bool:
        """Whether embedding statuses can be trusted. Sploot itself reports `ready` for a failed embedding."""
        return "embeddingStates" in self.features

    @property
    def keeps_file_names(self) -> bool:
        """Whether the server stores the original name of a file. Any other server gets a short name of its hash."""
        return self.features.get("fileNames") == "true"

    def missing_decoder(self, mime: str) -> str | None:
        """Return the extra of this package that brings a decoder of `mime` to the local server, if that lacks it."""
        decoders = self.features.get("missingDecoders")
        extra = decoders.get(mime) if isinstance(decoders, dict) else None
        return extra if extra in EXTRAS else None

    @property
    def check_batch_max(self) -> int:
        """The number of contents that one check request may list; 0 if the server checks one content per request."""
        return _positive_int(self.features.get("checkBatch"))

    @property
    def bundle_files_max(self) -> int:
        """The number of files that one upload request may carry; 0 if the server takes one file per request."""
        bundle = self.features.get("bundle")
        return _positive_int(bundle.get("files")) if isinstance(bundle, dict) else 0

    @property
    def bundle_bytes_max(self) -> int:
        """The maximum size of a bundle request, body framing included."""
        bundle = self.features.get("bundle")
        return _positive_int(bundle.get("bytes")) if isinstance(bundle, dict) else 0

    @property
    def upload_by_path_max(self) -> int:
        """The number of local files that one request may list by path; 0 if the server does not support it."""
        return _positive_int(self.features.get("uploadByPath"))


def _positive_int(value: Any) -> int:
    # `type(value) is int`, because True is an instance of int: a feature that is only switched on gives no number.
    return value if type(value) is int and value > 0 else 0
