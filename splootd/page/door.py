"""The page's door: HTTP on a port of this machine that nobody else's machine reaches. `guard.py` says who may come in.

It is opened by the first `sploot ui`, and by every start of the daemon after that, on the same port and with the same
key for the cookies: an open page goes on after a restart without a reload.
"""

import asyncio
import os
import socket
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

from starlette.requests import Request as HttpRequest
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from splootd import protocol
from splootd.clock import Clock
from splootd.control.endpoints import Endpoints
from splootd.control.finding import picture_path
from splootd.control.transport import BACKLOG, BoundedHttp, Server, configured, loopback_peer_uid
from splootd.errors import RequestError
from splootd.logs import logger
from splootd.page import files
from splootd.page.guard import ENTRANCE, HOST, guarded, sorry
from splootd.page.session import Note, Seal, Tokens, new_secret
from splootd.protocol import Problem

REQUESTS: tuple[type[protocol.Request], ...] = (
    protocol.GetStatus,
    protocol.Add,
    protocol.GetProgress,
    protocol.ListItems,
    protocol.Why,
    protocol.Retry,
    protocol.Bump,
    protocol.Forget,
    protocol.Pause,
    protocol.Resume,
    protocol.Undo,
    protocol.GetFolders,
    protocol.RemoveFolder,
    protocol.Search,
    protocol.GetEvents,
    protocol.GetReport,
    protocol.WhySlow,
    protocol.Examine,
    protocol.SelfTest,
)
"""What a page may ask: all but what ends the daemon, signs in or out, or writes a file of any name."""


class PageHttp(BoundedHttp):
    """For this user and root alone, where the system can tell; a body may take long, as long as it keeps coming.

    A cookie goes to every port of this machine that the browser talks to, and an address stands in a list of processes
    for a moment: another user who gets hold of one cannot use it.
    """

    def may_speak(self, transport: asyncio.Transport) -> bool:
        uid = loopback_peer_uid(transport.get_extra_info("peername"), transport.get_extra_info("sockname"))
        return uid in (None, os.getuid(), 0)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._head_is_complete and self._deadline is not None:
            self._expect()

    def too_late(self) -> None:
        if self.flow.read_paused:  # it is we who are slow
            self._expect()
        else:
            super().too_late()


class Door:
    """Serves the page for as long as `run` runs, once it is opened. `port` 0 is any; `note` is kept in that file."""

    def __init__(self, note: Path, *, port: int, clock: Clock, boot: str) -> None:
        self._file = note
        self._port = port
        self._clock = clock
        self._boot = boot
        self._tokens = Tokens(clock)
        self._app: ASGIApp = PlainTextResponse("not yet", 503)
        self._note: Note | None = None
        self._listener: socket.socket | None = None
        self._server: Server | None = None
        self._opening = asyncio.Lock()
        self._opened = asyncio.Event()
        self._log = logger("page")

    def __repr__(self) -> str:
        return f"Door({self.origin})"

    @property
    def origin(self) -> str | None:
        """`http://HOST:PORT`, None while it has never been opened."""
        return None if self._note is None else f"http://{HOST}:{self._note.port}"

    def serve(self, endpoints: Endpoints, more: Sequence[BaseRoute] = ()) -> None:
        """What is behind the door: the page's files, what a page may ask, and `more`."""
        routes = [
            Route(ENTRANCE, self._enter, methods=["GET"]),
            Route("/", endpoints.answering(self._index), methods=["GET"]),
            Route("/static/{name}", endpoints.answering(_static), methods=["GET"]),
            *endpoints.routes(REQUESTS),
            *more,
        ]
        self._app = endpoints.app(routes)

    async def run(self) -> None:
        """Open, if it was opened before, and answer until cancelled."""
        try:
            async with self._opening:
                known = None if self._note else await asyncio.to_thread(Note.read, self._file)
                if known is not None:
                    await self._open(known)
        except OSError as error:  # memes matter more than the page
            self._log.error("the page cannot be opened", error=str(error))
        await self._opened.wait()
        assert self._note is not None
        assert self._listener is not None
        app = guarded(self._app, port=self._note.port, knows=self._knows)
        self._server = Server(configured(app, PageHttp, boot=self._boot))
        with self._listener:
            serving = asyncio.ensure_future(self._server.serve(sockets=[self._listener]))
            try:
                await asyncio.shield(serving)
            finally:
                self._server.end()
                await serving

    async def address(self, *, reset: bool, asset_id: str | None = None) -> str:
        """Where a browser may enter, once and soon: to the page, or to a picture. RequestError when it cannot open."""
        async with self._opening:
            try:
                if self._note is None:
                    known = await asyncio.to_thread(Note.read, self._file)
                    await self._open(known or Note(0, new_secret()))
                if reset:
                    await self._forget_everybody()
            except OSError as error:
                title = f"the page cannot be opened: {error.strerror or error}"
                raise RequestError("no_page", title, "sploot config set page_port 0", status=503) from error
        to = "" if asset_id is None else f"&asset={quote(asset_id, safe='')}"
        return f"{self.origin}{ENTRANCE}?token={self._tokens.new()}{to}"

    async def _open(self, note: Note) -> None:
        """Listen where `note` says, or where there is room. A cookie is not good at another port than before."""
        listener = bound(self._port or note.port, is_fixed=bool(self._port))
        try:
            kept = replace(note, port=listener.getsockname()[1])
            await asyncio.to_thread(kept.write, self._file)
        except OSError:
            listener.close()
            raise
        self._note, self._seal, self._listener = kept, Seal(kept, self._clock), listener
        self._opened.set()
        self._log.info("the page is open", port=kept.port)

    async def _forget_everybody(self) -> None:
        """Cookies and tokens are void from now on, and so is what is under way."""
        assert self._note is not None
        self._note = replace(self._note, secret=new_secret())
        await asyncio.to_thread(self._note.write, self._file)
        self._seal = Seal(self._note, self._clock)
        self._tokens.clear()
        if self._server is not None:
            self._server.hang_up()

    def _knows(self, cookie: str) -> bool:
        return self._seal.knows(cookie)

    async def _enter(self, http: HttpRequest) -> Response:
        # Whoever only asks for the head does not come in, and must not use the token up.
        if http.method == "GET" and self._tokens.redeem(http.query_params.get("token", "")):
            asset_id = http.query_params.get("asset")
            to = "/" if asset_id is None else picture_path(asset_id)
            return RedirectResponse(to, 303, {"set-cookie": self._seal.cookie()})
        return sorry(Problem("not_entered", "this address was good once, for a minute", 401))

    async def _index(self, http: HttpRequest) -> Response:
        answer = await files.file(http, files.INDEX)
        answer.headers["set-cookie"] = self._seal.cookie()  # whoever comes often may come for ever
        return answer


async def _static(http: HttpRequest) -> Response:
    return await files.file(http, http.path_params["name"])


def bound(port: int, *, is_fixed: bool) -> socket.socket:
    """A listening socket at `port`, or at another one if that is taken and `port` is no more than a wish. OSError."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        # What an earlier daemon has left to time out must not stand in the way; another listener still does.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
        except OSError:
            if is_fixed or not port:
                raise
            listener.bind((HOST, 0))
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener
