"""HTTP server of the control API, on a Unix socket that only its owner may use.

`endpoints.py` converts HTTP to protocol requests, `handlers.py` handles them, `event_stream.py` streams events, and
`http_limits.py` checks the peer and bounds sizes and times.
"""

import asyncio
import os
import socket
from pathlib import Path

from starlette.types import ASGIApp, Receive, Scope, Send

from splootd.codec import encode
from splootd.control.context import Context
from splootd.control.endpoints import Endpoints, json_response, problem_from_error
from splootd.control.handlers import RequestHandlers
from splootd.control.http_limits import BACKLOG, SameUserHttp, UvicornServer, build_uvicorn_config
from splootd.control.idempotency import IdempotencyCache
from splootd.errors import RequestError
from splootd.protocol import REQUESTS


def bind(path: Path) -> socket.socket:
    """Return a listening socket at `path`, mode 0600 in a 0700 folder. The caller holds the lock.

    An existing socket file is therefore stale and is removed: `bind` fails with EADDRINUSE on any existing file, even
    when no process listens. The umask covers the moment between `bind` and `chmod`.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.parent.chmod(0o700)
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    umask = os.umask(0o077)
    try:
        listener.bind(os.fspath(path))
        path.chmod(0o600)
    except OSError:
        listener.close()
        raise
    finally:
        os.umask(umask)
    listener.listen(BACKLOG)
    listener.setblocking(False)
    return listener


class ControlServer:
    """Serves the control API on `listener` while `run` runs."""

    def __init__(self, listener: socket.socket, context: Context) -> None:
        self._listener = listener
        self.handlers = RequestHandlers(context)
        self.endpoints = Endpoints(self.handlers, IdempotencyCache(context.idempotency_store, context.clock))
        app = self.endpoints.build_app(self.endpoints.build_routes(REQUESTS))
        self._server = UvicornServer(
            build_uvicorn_config(_reject_browser_requests(app), SameUserHttp, instance_id=context.instance_id)
        )

    def drain(self) -> None:
        """Report the daemon as draining from now on."""
        self.handlers.draining = True

    async def run(self) -> None:
        """Serve until `close`. A cancellation closes the streams first, so that clients see a complete last event."""
        async with asyncio.TaskGroup() as group:
            events = group.create_task(self.handlers.event_stream.run(), name="event-stream")
            serving = group.create_task(self._server.serve(sockets=[self._listener]), name="control-server")
            try:
                await asyncio.shield(serving)
            finally:
                self.close()
                await serving
                events.cancel()

    def close(self) -> None:
        """End `run`: streams end immediately, replies in flight get SHUTDOWN_TIMEOUT_S."""
        self.handlers.event_stream.close()
        self._server.stop()


def _reject_browser_requests(app: ASGIApp) -> ASGIApp:
    """Reject requests with an Origin header. Browsers do not open Unix sockets, but a local proxy may forward them."""

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        if any(name == b"origin" for name, _ in scope["headers"]):
            error = RequestError("origin_not_allowed", "requests from web pages are not allowed here", status=403)
            problem = problem_from_error(error)
            await json_response(encode(problem), problem.status)(scope, receive, send)
        else:
            await app(scope, receive, send)

    return guarded
