"""A look at the line to a server, below what httpx tells: TLS, the age of the certificate, the server's clock."""

import asyncio
import contextlib
import email.utils
import ssl
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from splootd.clock import Clock
from splootd.errors import Unreachable

INSPECT_S = 15.0
HEAD_BYTES_MAX = 65_536


@dataclass(frozen=True, slots=True)
class Line:
    """`skew_s` is how far this machine's clock is ahead of the server's; None where the server does not tell a time."""

    took_s: float
    skew_s: float | None
    tls: str | None  # the version, None for a plain line
    certificate_left_s: float | None


async def inspect(url: str, clock: Clock) -> Line:
    """Connect to `url` as it stands, no proxy asked, and hear one answer; Unreachable when that fails."""
    started_at = clock.monotonic()
    try:
        async with asyncio.timeout(INSPECT_S):
            head, tls = await _asked(url)
    except ssl.SSLCertVerificationError as error:
        raise Unreachable(f"the certificate of the server is not to be trusted: {error.verify_message}") from error
    except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        raise Unreachable(f"no line to the server: {error or type(error).__name__}") from error
    now = clock.now()
    sent_at = _date(head)
    expires_at = ssl.cert_time_to_seconds(tls.getpeercert()["notAfter"]) if tls else None
    return Line(
        took_s=clock.monotonic() - started_at,
        skew_s=None if sent_at is None else now - sent_at,
        tls=tls.version() if tls else None,
        certificate_left_s=None if expires_at is None else expires_at - now,
    )


async def _asked(url: str) -> tuple[bytes, Any]:
    """The head of one answer, and the TLS object of the line, if it is one."""
    parts = urlsplit(url)
    context = ssl.create_default_context() if parts.scheme == "https" else None
    port = parts.port or (443 if context else 80)
    reader, writer = await asyncio.open_connection(parts.hostname, port, ssl=context, limit=HEAD_BYTES_MAX)
    try:
        path = f"{parts.path.rstrip('/')}/api/health"
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {parts.netloc.rpartition('@')[2]}\r\n\r\n".encode("latin-1"))
        head = await reader.readuntil(b"\r\n\r\n")
        return head, writer.get_extra_info("ssl_object")
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def _date(head: bytes) -> float | None:
    for line in head.decode("latin-1").split("\r\n"):
        name, _, value = line.partition(":")
        if name.lower() == "date":
            with contextlib.suppress(ValueError, TypeError):
                return email.utils.parsedate_to_datetime(value.strip()).timestamp()
    return None
