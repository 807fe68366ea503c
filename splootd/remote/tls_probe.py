"""Probe a server for `sploot doctor`: TLS version, certificate expiry, clock skew. httpx reports none of these."""

import asyncio
import contextlib
import email.utils
import ssl
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from splootd.clock import Clock
from splootd.errors import Unreachable

PROBE_TIMEOUT_S = 15.0
HEAD_BYTES_MAX = 65_536


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """The result of a probe. `clock_skew_s` > 0: this machine's clock is ahead; None without a Date header."""

    duration_s: float
    clock_skew_s: float | None
    tls_version: str | None  # None for plain HTTP
    certificate_expires_in_s: float | None


async def probe(url: str, clock: Clock) -> ProbeResult:
    """Connect to `url` without a proxy and read the head of one response. Raises Unreachable if that fails."""
    started_at = clock.monotonic()
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            head, tls = await _request_head(url)
    except ssl.SSLCertVerificationError as error:
        raise Unreachable(f"the server's certificate is not trusted: {error.verify_message}") from error
    except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        raise Unreachable(f"no connection to the server: {error or type(error).__name__}") from error
    now = clock.now()
    sent_at = _parse_date(head)
    expires_at = ssl.cert_time_to_seconds(tls.getpeercert()["notAfter"]) if tls else None
    return ProbeResult(
        duration_s=clock.monotonic() - started_at,
        clock_skew_s=None if sent_at is None else now - sent_at,
        tls_version=tls.version() if tls else None,
        certificate_expires_in_s=None if expires_at is None else expires_at - now,
    )


async def _request_head(url: str) -> tuple[bytes, Any]:
    """Return the head of one response, and the TLS object of the connection or None."""
    parts = urlsplit(url)
    context = ssl.create_default_context() if parts.scheme == "https" else None
    port = parts.port or (443 if context else 80)
    reader, writer = await asyncio.open_connection(parts.hostname, port, ssl=context, limit=HEAD_BYTES_MAX)
    try:
        path = f"{parts.path.rstrip('/')}/api/health"
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode("latin-1"))
        head = await reader.readuntil(b"\r\n\r\n")
        return head, writer.get_extra_info("ssl_object")
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def _parse_date(head: bytes) -> float | None:
    for line in head.decode("latin-1").split("\r\n"):
        name, _, value = line.partition(":")
        if name.lower() == "date":
            with contextlib.suppress(ValueError, TypeError):
                return email.utils.parsedate_to_datetime(value.strip()).timestamp()
    return None
