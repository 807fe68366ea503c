"""HTTP server of the web UI, on a loopback port. `request_security.py` decides which requests are allowed.

The first `sploot ui` opens it. Later starts of the daemon reopen it on the same port with the same cookie key, so that
an open page continues after a restart without a reload.
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
from splootd.control.context import Context
from splootd.control.endpoints import Endpoints
from splootd.control.http_limits import BACKLOG, BoundedHttp, UvicornServer, build_uvicorn_config, get_loopback_peer_uid
from splootd.control.search import image_path
from splootd.errors import RequestError
from splootd.logs import get_logger
from splootd.protocol import Problem
from splootd.web import static_files
from splootd.web.browser_upload import BrowserUploads
from splootd.web.library_proxy import LibraryProxy
from splootd.web.request_security import HOST, LOGIN_PATH, error_page, with_request_security
from splootd.web.session import CookieSigner, LoginTokens, SessionState, new_secret

ALLOWED_REQUESTS: tuple[type[protocol.Request], ...] = (
    protocol.GetStatus,
    protocol.Add,
    protocol.GetProgress,
    protocol.ListItems,
    protocol.GetExplanation,
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
    protocol.GetBottleneck,
    protocol.RunDoctor,
    protocol.SelfTest,
    protocol.GetSettings,
    protocol.ChangeSetting,
    protocol.FindFolders,
    protocol.Reveal,
)
"""Requests of the web UI: all except shutdown, login, logout, those that write a file of any name, and those for which
the library proxy has routes of its own. `ChangeSetting` writes only the keys of `EDITABLE_KEYS` into the configuration.
"""


class WebHttp(BoundedHttp):
    """BoundedHttp that accepts only this user and root, where the system reports the peer of a loopback connection.

    A browser sends its cookies to every port of a host, and the login URL is visible in the process list for a moment.
    The uid check makes both useless for other users of the machine. A body may take long while it keeps arriving.
    """

    def is_peer_allowed(self, transport: asyncio.Transport) -> bool:
        uid = get_loopback_peer_uid(transport.get_extra_info("peername"), transport.get_extra_info("sockname"))
        return uid in (None, os.getuid(), 0)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._head_is_complete and self._deadline is not None:
            self._start_deadline()

    def on_timeout(self) -> None:
        if self.flow.read_paused:  # the daemon is slow, not the client
            self._start_deadline()
        else:
            super().on_timeout()


class WebServer:
    """Serves the web UI while `run` runs, once it is opened. `port` 0 is any; `state_file` stores port and key."""

    def __init__(self, state_file: Path, *, port: int, clock: Clock, instance_id: str) -> None:
        self._state_file = state_file
        self._port = port
        self._clock = clock
        self._instance_id = instance_id
        self._login_tokens = LoginTokens(clock)
        self._app: ASGIApp = PlainTextResponse("starting", 503)
        self._state: SessionState | None = None
        self._listener: socket.socket | None = None
        self._server: UvicornServer | None = None
        self._listen_lock = asyncio.Lock()
        self._listening = asyncio.Event()
        self._log = get_logger("web")

    def __repr__(self) -> str:
        return f"WebServer({self.origin})"

    @property
    def origin(self) -> str | None:
        """`http://HOST:PORT`, or None while it has never been opened."""
        return None if self._state is None else f"http://{HOST}:{self._state.port}"

    def set_routes(self, endpoints: Endpoints, extra_routes: Sequence[BaseRoute] = ()) -> None:
        """Set the routes: static files, the allowed requests, and `extra_routes`."""
        routes = [
            Route(LOGIN_PATH, self._login, methods=["GET"]),
            Route("/", endpoints.with_error_handling(self._serve_index), methods=["GET"]),
            Route("/static/{name:path}", endpoints.with_error_handling(_serve_static), methods=["GET"]),
            *endpoints.build_routes(ALLOWED_REQUESTS),
            *extra_routes,
        ]
        self._app = endpoints.build_app(routes)

    async def run(self) -> None:
        """Open the port if it was open before, and serve until cancelled."""
        try:
            async with self._listen_lock:
                saved = None if self._state else await asyncio.to_thread(SessionState.read, self._state_file)
                if saved is not None:
                    await self._listen(saved)
        except OSError as error:  # uploads must continue without the web UI
            self._log.error("opening the web UI failed", error=str(error))
        await self._listening.wait()
        assert self._state is not None
        assert self._listener is not None
        app = with_request_security(self._app, port=self._state.port, has_valid_cookie=self._has_valid_cookie)
        self._server = UvicornServer(build_uvicorn_config(app, WebHttp, instance_id=self._instance_id))
        with self._listener:
            serving = asyncio.ensure_future(self._server.serve(sockets=[self._listener]))
            try:
                await asyncio.shield(serving)
            finally:
                self._server.stop()
                await serving

    async def create_login_url(self, *, reset: bool, asset_id: str | None = None) -> str:
        """Return a one-time login URL of the web UI or one image. Raises RequestError when the port fails to open."""
        async with self._listen_lock:
            try:
                if self._state is None:
                    saved = await asyncio.to_thread(SessionState.read, self._state_file)
                    await self._listen(saved or SessionState(0, new_secret()))
                if reset:
                    await self._revoke_sessions()
            except OSError as error:
                title = f"the web UI cannot be opened: {error.strerror or error}"
                raise RequestError("ui_unavailable", title, "sploot config set ui_port 0", status=503) from error
        asset_query = "" if asset_id is None else f"&asset={quote(asset_id, safe='')}"
        return f"{self.origin}{LOGIN_PATH}?token={self._login_tokens.issue()}{asset_query}"

    async def _listen(self, state: SessionState) -> None:
        """Listen on the saved port, or on a free one. Cookies are valid for one port only."""
        listener = bind_port(self._port or state.port, is_fixed=bool(self._port))
        try:
            bound_state = replace(state, port=listener.getsockname()[1])
            await asyncio.to_thread(bound_state.write, self._state_file)
        except OSError:
            listener.close()
            raise
        self._state, self._cookie_signer, self._listener = bound_state, CookieSigner(bound_state, self._clock), listener
        self._listening.set()
        self._log.info("web UI opened", port=bound_state.port)

    async def _revoke_sessions(self) -> None:
        """Revoke all cookies and login tokens, and close the open connections."""
        assert self._state is not None
        self._state = replace(self._state, secret=new_secret())
        await asyncio.to_thread(self._state.write, self._state_file)
        self._cookie_signer = CookieSigner(self._state, self._clock)
        self._login_tokens.clear()
        if self._server is not None:
            self._server.close_connections()

    def _has_valid_cookie(self, cookie: str) -> bool:
        return self._cookie_signer.has_valid_cookie(cookie)

    async def _login(self, http: HttpRequest) -> Response:
        # Starlette adds HEAD to each GET route. A HEAD request, as link previews send it, must not consume the token.
        if http.method == "GET" and self._login_tokens.redeem(http.query_params.get("token", "")):
            asset_id = http.query_params.get("asset")
            location = "/" if asset_id is None else image_path(asset_id)
            return RedirectResponse(location, 303, {"set-cookie": self._cookie_signer.set_cookie_header()})
        return error_page(Problem("no_session", "this login link has been used or has expired", 401))

    async def _serve_index(self, http: HttpRequest) -> Response:
        response = await static_files.serve_file(http, static_files.INDEX)
        response.headers["set-cookie"] = self._cookie_signer.set_cookie_header()  # each visit extends the session
        return response


def build_library_routes(
    context: Context, endpoints: Endpoints, upload_folder: Path
) -> tuple[BrowserUploads, list[BaseRoute]]:
    """Build the library proxy and the browser uploads. Return the upload worker and the routes of both.

    `upload_folder` must not contain symbolic links.
    """
    library_proxy = LibraryProxy(
        context.library_client,
        context.image_proxy,
        context.read_queries,
        endpoints,
        upload_folder=upload_folder,
        server=None if context.config.is_local else context.config.server,
    )
    browser_uploads = BrowserUploads(
        upload_folder,
        context.importer,
        context.client,
        endpoints,
        clock=context.clock,
        settle_s=context.config.settle_s,
    )
    return browser_uploads, [*library_proxy.routes(), *browser_uploads.routes()]


async def _serve_static(http: HttpRequest) -> Response:
    return await static_files.serve_file(http, http.path_params["name"])


def bind_port(port: int, *, is_fixed: bool) -> socket.socket:
    """Return a listening socket at `port`, or at a free port if it is taken and not fixed. Raises OSError."""
    # asyncio turns off Nagle's delay, of 40 ms in each response, only for a socket that names its protocol.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        # Without SO_REUSEADDR, connections of the previous daemon in TIME_WAIT block the port for a minute. A port
        # with another listener still fails.
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
