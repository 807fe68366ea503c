"""The control API's door: HTTP and JSON on a Unix socket that only its owner may use.

What is asked is answered in `answers.py`, what streams is in `stream.py`, and `transport.py` sees who comes and keeps
them within bounds. `endpoints.py` turns HTTP into requests of the protocol, and answers and errors back into HTTP.
"""

import asyncio
import os
import socket
from pathlib import Path

from starlette.types import ASGIApp, Receive, Scope, Send

from splootd.control.answers import Answers
from splootd.control.endpoints import Endpoints, as_json, problem_of
from splootd.control.once import Once
from splootd.control.parts import Parts
from splootd.control.transport import BACKLOG, OwnersHttp, Server, configured
from splootd.errors import RequestError
from splootd.protocol import REQUESTS
from splootd.wire import encode


def bind(path: Path) -> socket.socket:
    """A listening socket at `path`, 0600 in a 0700 folder. The caller holds the lock: what lies there is stale."""
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


class Control:
    """Serves the control API on `listener` for as long as `run` runs."""

    def __init__(self, listener: socket.socket, parts: Parts) -> None:
        self._listener = listener
        self.answers = Answers(parts)
        self.endpoints = Endpoints(self.answers, Once(parts.arrivals, parts.clock))
        app = self.endpoints.app(self.endpoints.routes(REQUESTS))
        self._server = Server(configured(_refusing_browsers(app), OwnersHttp, boot=parts.boot))

    def drain(self) -> None:
        """From now on the status says that the daemon is about to end."""
        self.answers.draining = True

    async def run(self) -> None:
        """Answer until `close`. Cancelled, it closes first: whoever listens is to see an end, not a torn line."""
        async with asyncio.TaskGroup() as group:
            news = group.create_task(self.answers.news.run(), name="news")
            serving = group.create_task(self._server.serve(sockets=[self._listener]), name="control socket")
            try:
                await asyncio.shield(serving)
            finally:
                self.close()
                await serving
                news.cancel()

    def close(self) -> None:
        """Let `run` end: streams end at once, answers under way have `CLOSE_S`."""
        self.answers.news.end()
        self._server.end()


def _refusing_browsers(app: ASGIApp) -> ASGIApp:
    """No browser says anything here of its own accord, but a page might try to make one."""

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        if any(name == b"origin" for name, _ in scope["headers"]):
            problem = problem_of(RequestError("origin", "requests of web pages are refused here", status=403))
            await as_json(encode(problem), problem.status)(scope, receive, send)
        else:
            await app(scope, receive, send)

    return guarded
