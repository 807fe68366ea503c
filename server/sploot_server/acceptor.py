"""Accepts connections and limits the TLS handshakes, which asyncio's own servers neither count nor bound."""

import asyncio
import contextlib
import errno
import resource
import socket
import ssl
import time
from collections.abc import Callable

import structlog

HANDSHAKES_MAX = 128  # at once; beyond it, the longest one is given up for the new one
HANDSHAKE_TIMEOUT_S = 10.0
DESCRIPTORS_MAX = 65_536
EXHAUSTED_ERRNOS = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
RETRY_S = 0.2  # after running out of descriptors, for some to be closed
LOG_INTERVAL_S = 60.0

logger = structlog.get_logger()


class Acceptor:
    """Accepts connections on a listening socket until it is closed. It has the interface of an asyncio server."""

    def __init__(
        self, listener: socket.socket, create_protocol: Callable[[], asyncio.Protocol], context: ssl.SSLContext | None
    ) -> None:
        self._listener = listener
        self._create_protocol = create_protocol
        self._context = context
        self._handshakes: dict[asyncio.Task[None], None] = {}  # the oldest first
        self._logged_at_s = -LOG_INTERVAL_S
        listener.setblocking(False)
        self._task = asyncio.create_task(self._accept_all())

    def close(self) -> None:
        """Accept no more connections."""
        self._task.cancel()
        for handshake in self._handshakes:
            handshake.cancel()

    async def wait_closed(self) -> None:
        await asyncio.wait([self._task, *self._handshakes])

    async def _accept_all(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(self._listener)
            except OSError as error:
                if error.errno in EXHAUSTED_ERRNOS:
                    self._log_exhaustion(error)
                    await asyncio.sleep(RETRY_S)
                continue  # otherwise the client has gone
            handshake = asyncio.create_task(self._shake_hands(connection))
            self._handshakes[handshake] = None
            handshake.add_done_callback(self._forget)
            if len(self._handshakes) > HANDSHAKES_MAX:
                longest = next(iter(self._handshakes))
                longest.cancel()
                self._forget(longest)  # now: it ends only after other connections are accepted

    async def _shake_hands(self, connection: socket.socket) -> None:
        timeout_s = None if self._context is None else HANDSHAKE_TIMEOUT_S
        with contextlib.suppress(OSError):  # ssl.SSLError and TimeoutError included
            await asyncio.get_running_loop().connect_accepted_socket(
                self._create_protocol, connection, ssl=self._context, ssl_handshake_timeout=timeout_s
            )

    def _forget(self, handshake: asyncio.Task[None]) -> None:
        self._handshakes.pop(handshake, None)

    def _log_exhaustion(self, error: OSError) -> None:
        if time.monotonic() - self._logged_at_s >= LOG_INTERVAL_S:
            self._logged_at_s = time.monotonic()
            limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
            logger.error("cannot accept connections", error_message=error.strerror, descriptors_max=limit)


def raise_descriptor_limit() -> None:
    """Raise the soft limit of open descriptors to the hard one: services often start with 1024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS_MAX if hard == resource.RLIM_INFINITY else min(hard, DESCRIPTORS_MAX)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):  # macOS has a lower limit than it reports
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
