"""Frozen, validated configuration of the server."""

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path

from sploot_server.domain.sniff import EXTENSIONS

MIME_TYPES = ("image/jpeg", "image/png", "image/webp", "image/gif")
UPLOAD_BYTES_MAX = 10 * 1024 * 1024  # Sploot's own limit
SHARED_DISK_RESERVE_BYTES = 1_000_000_000
SCHEMES = {
    "database": ("postgresql://", "postgres://"),
    "events": ("redis://", "rediss://", "unix://"),
    "blobs": ("s3://",),
}
UDS_PATH_BYTES_MAX = 103  # sockaddr_un: 108 on Linux, 104 on macOS, both with a closing NUL


class ConfigError(Exception):
    """A setting is invalid; the message names the option, its value and the allowed values."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Storage, listening address and limits of a server. Sizes are in bytes, times in seconds.

    `database`, `events` and `blobs` are URLs of shared backends and may hold a password, so `repr` omits them.
    `accounts` requires tokens on a Unix socket too. `allows_upload_by_path` lets clients of the Unix socket send paths
    instead of content. `trusted_proxies` lists the addresses whose `X-Forwarded-*` headers are trusted.
    `header_timeout_s` limits the time to receive a request's headers; `send_timeout_s` limits how long a client may
    accept no data of a response. `requests_per_owner_max` is one account's share of `requests_max`.
    `connections_per_address_max` is below `requests_max`, so that one address cannot use up the server; a trusted proxy
    is exempt because its address stands for many clients. Uploads are refused while less than `disk_reserve_bytes` of a
    disk is free: by default 1 GB if members share the server, and nothing in the library of one person.
    """

    data: Path
    database: str | None = field(default=None, repr=False)
    events: str | None = field(default=None, repr=False)
    blobs: str | None = field(default=None, repr=False)
    upload_dir: Path | None = None
    uds: Path | None = None
    host: str = "127.0.0.1"
    port: int = 8765
    upload_bytes_max: int = UPLOAD_BYTES_MAX
    disk_reserve_bytes: int | None = None
    mime_types: tuple[str, ...] = MIME_TYPES
    embedding_threads: int = 2
    worker_idle_s: float = 30.0
    models: tuple[Path, ...] = ()
    heartbeat: Path | None = None
    accounts: bool = False
    allows_upload_by_path: bool = False
    tls_cert: Path | None = None
    tls_key: Path | None = None
    trusted_proxies: str | None = None
    requests_max: int = 192
    requests_per_owner_max: int = 16
    connections_max: int = 512
    connections_per_address_max: int = 48
    header_bytes_max: int = 64 * 1024
    header_timeout_s: float = 15.0
    send_timeout_s: float = 60.0
    drain_s: int = 8
    lock_wait_s: float = 10.0

    def __post_init__(self) -> None:
        """Validate every setting at start-up. Raise ConfigError."""
        if self.uds is not None and len(bytes(self.uds)) > UDS_PATH_BYTES_MAX:
            raise ConfigError(
                f"--uds {self.uds} is {len(bytes(self.uds))} bytes long; at most {UDS_PATH_BYTES_MAX} are allowed."
            )
        self._check_backend_urls()
        if self.allows_upload_by_path and (self.uds is None or self.accounts or self.database or self.blobs):
            raise ConfigError(
                "--allow-upload-by-path requires --uds and excludes --accounts, --database and --blobs: "
                "clients read files with the rights of the server."
            )
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ConfigError("--tls-cert and --tls-key must be given together; one of them is missing.")
        if self.trusted_proxies == "*" and self.is_public:
            raise ConfigError(
                "--trusted-proxies * trusts every client that can reach this port; list the addresses of the proxies."
            )
        if not 0 <= self.port <= 65535:
            raise ConfigError(f"--port {self.port} is not a port; allowed: 0 (any free port) to 65535.")
        if self.upload_bytes_max < 1:
            raise ConfigError(f"--max-upload-bytes {self.upload_bytes_max} is too small; allowed: 1 or more.")
        if not self.mime_types:
            raise ConfigError(f"--types is empty; allowed: {', '.join(EXTENSIONS)}.")
        for mime in self.mime_types:
            if mime not in EXTENSIONS:
                raise ConfigError(f"--types contains {mime!r}; allowed: {', '.join(EXTENSIONS)}.")
        if not 1 <= self.embedding_threads <= 64:
            raise ConfigError(f"--threads {self.embedding_threads} is out of range; allowed: 1 to 64.")
        if not 0 < self.worker_idle_s <= 86400:
            raise ConfigError(
                f"--worker-idle {self.worker_idle_s} is out of range; allowed: more than 0, at most 86400 seconds."
            )

    def _check_backend_urls(self) -> None:
        for name, schemes in SCHEMES.items():
            address = getattr(self, name)
            if address is not None and not address.startswith(schemes):
                raise ConfigError(f"--{name} must start with one of {', '.join(schemes)}.")  # may hold a password
        if self.events is not None and self.database is None:
            raise ConfigError("--events requires --database: only processes that share a database exchange events.")

    @property
    def disk_reserve(self) -> int:
        """Return the bytes of each disk that uploads leave free."""
        if self.disk_reserve_bytes is not None:
            return self.disk_reserve_bytes
        return SHARED_DISK_RESERVE_BYTES if self.is_public or self.accounts or self.database else 0

    @property
    def is_public(self) -> bool:
        """Return True if programs on other machines can reach the server."""
        return self.uds is None and not _is_loopback(self.host)

    @property
    def supports_resumable_uploads(self) -> bool:
        """Return True if any server of this library can continue an upload.

        The servers of a --database share no data folder, so they need a common `upload_dir`.
        """
        return self.database is None or self.upload_dir is not None


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
