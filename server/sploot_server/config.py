"""One frozen, validated value that says how this server runs."""

import ipaddress
import os
from dataclasses import dataclass, field
from pathlib import Path

from sploot_server.sniff import EXTENSIONS

UPLOAD_BYTES_MAX = 10 * 1024 * 1024  # Sploot's own limit
MIME_TYPES = ("image/jpeg", "image/png", "image/webp", "image/gif")
SCHEMES = {
    "database": ("postgresql://", "postgres://"),
    "events": ("redis://", "rediss://", "unix://"),
    "blobs": ("s3://",),
}
UDS_PATH_BYTES_MAX = 103  # sockaddr_un: 108 on Linux, 104 on macOS, both with a closing NUL


def elsewhere(name: str) -> str | None:
    """What the environment says `--database`, `--events` or `--blobs` to be; a command line shows passwords to all."""
    return os.environ.get(f"SPLOOT_SERVER_{name.upper()}")


class ConfigError(Exception):
    """A setting is wrong; the message names it, what was found and what is allowed."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Where the library lives, where it listens, and its limits. Sizes in bytes, times in seconds.

    `database`, `events` and `blobs` are addresses of what stands elsewhere, and may hold a password. `accounts` asks
    for tokens even on a Unix socket; with `takes_files` the clients there may name files instead of sending them;
    `proxies` are the addresses whose `X-Forwarded-*` is believed. `head_s_max` is for the head of a request to come in,
    from when it may be expected; `answer_s_max` for a client that takes nothing more of its answer. One address of
    strangers may hold `connections_each_max`, fewer than there may be requests; a proxy's stands for many.
    """

    data: Path
    database: str | None = field(default=None, repr=False)
    events: str | None = field(default=None, repr=False)
    blobs: str | None = field(default=None, repr=False)
    partials: Path | None = None
    uds: Path | None = None
    host: str = "127.0.0.1"
    port: int = 8765
    upload_bytes_max: int = UPLOAD_BYTES_MAX
    mime_types: tuple[str, ...] = MIME_TYPES
    embedding_threads: int = 2
    worker_idle_s: float = 30.0
    model: Path | None = None
    accounts: bool = False
    takes_files: bool = False
    tls_cert: Path | None = None
    tls_key: Path | None = None
    proxies: str | None = None
    requests_max: int = 64
    connections_max: int = 512
    connections_each_max: int = 48
    head_bytes_max: int = 64 * 1024
    head_s_max: float = 15.0
    answer_s_max: float = 60.0
    drain_s: int = 8
    lock_wait_s: float = 10.0

    def __post_init__(self) -> None:
        """Refuse at the door what could only fail later."""
        if self.uds is not None and len(bytes(self.uds)) > UDS_PATH_BYTES_MAX:
            raise ConfigError(
                f"--uds {self.uds} is {len(bytes(self.uds))} bytes long; at most {UDS_PATH_BYTES_MAX} are allowed."
            )
        self._check_what_is_elsewhere()
        if self.takes_files and (self.uds is None or self.accounts or self.database or self.blobs):
            raise ConfigError("--take-files is for the user's own --uds, without --accounts, --database or --blobs.")
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ConfigError("--tls-cert and --tls-key belong together; one of them is missing.")
        if self.proxies == "*" and self.is_public:
            raise ConfigError(
                "--proxies * would believe everybody who can reach this port; name the addresses of proxies."
            )
        if not 0 <= self.port <= 65535:
            raise ConfigError(f"--port {self.port} is not a port; allowed are 0 (any free one) to 65535.")
        if self.upload_bytes_max < 1:
            raise ConfigError(f"--max-upload-bytes {self.upload_bytes_max} leaves no room for a file; use 1 or more.")
        if not self.mime_types:
            raise ConfigError(f"--types names no type; allowed are {', '.join(EXTENSIONS)}.")
        for mime in self.mime_types:
            if mime not in EXTENSIONS:
                raise ConfigError(f"--types has {mime!r}; allowed are {', '.join(EXTENSIONS)}.")
        if not 1 <= self.embedding_threads <= 64:
            raise ConfigError(f"--threads {self.embedding_threads}: allowed are 1 to 64.")
        if not 0 < self.worker_idle_s <= 86400:
            raise ConfigError(f"--worker-idle {self.worker_idle_s}: allowed is more than 0 and at most 86400 seconds.")

    def _check_what_is_elsewhere(self) -> None:
        for name, schemes in SCHEMES.items():
            address = getattr(self, name)
            if address is not None and not address.startswith(schemes):
                raise ConfigError(f"--{name} begins with none of {', '.join(schemes)}.")
        if self.events is not None and self.database is None:
            raise ConfigError("--events is for libraries with a --database that several processes share.")

    @property
    def is_public(self) -> bool:
        """Whether others than the programs of this machine may reach it."""
        return self.uds is None and not _is_loopback(self.host)

    @property
    def resumes_uploads(self) -> bool:
        """Whether an upload goes on wherever its next request comes in: the servers of a --database share no folder."""
        return self.database is None or self.partials is not None


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
