"""Strangers and members that do their worst to a real server, and what the others get meanwhile."""

import contextlib
import resource
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sploot_server.acceptor import HANDSHAKE_TIMEOUT_S, HANDSHAKES_MAX
from sploot_server.auth.rate_limit import BURST_MAX
from sploot_server.auth.tokens import mint_token
from sploot_server.config import Config
from team_server import TeamServer, descriptors, team_server
from toy_library import picture

SLOW_BODY = (
    b"POST /api/upload HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
    b"Content-Length: 9000000\r\n%b\r\n--x\r\n\r\n"
)
HEALTH = "/api/health/ready"


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TeamServer]:
    with team_server(tmp_path_factory.mktemp("team") / "library", kind=request.param) as server:
        yield server


def status_line(connection: socket.socket) -> bytes:
    """Wait for the response and return its first line."""
    with contextlib.suppress(ConnectionError):
        return connection.makefile("rb").readline()
    return b""


def test_slow_bodies_without_a_token_take_no_place(server: TeamServer) -> None:
    """More of them than the server has places, and then more than it has connections."""
    for count in (Config.requests_max + 6, Config.connections_max + 88):
        with contextlib.ExitStack() as stack:
            for _ in range(count):
                stack.enter_context(server.connect(SLOW_BODY % b""))
            with server.stranger() as stranger, server.member("anna") as anna:
                for _ in range(20):
                    assert stranger.get(HEALTH).status_code == 200
                    assert anna.get("/api/assets").status_code == 200


def test_slow_bodies_of_one_member_leave_places_for_the_others(server: TeamServer) -> None:
    authorization = f"Authorization: Bearer {server.tokens['ben']}\r\nExpect: 100-continue\r\n".encode()
    with contextlib.ExitStack() as stack, server.stranger() as stranger, server.member("anna") as anna:
        connections = [
            stack.enter_context(server.connect((SLOW_BODY % authorization).removesuffix(b"--x\r\n\r\n")))
            for _ in range(Config.requests_max + 6)
        ]
        for connection in connections[: Config.requests_per_owner_max]:
            assert status_line(connection).startswith(b"HTTP/1.1 100 ")
        with server.member("ben") as ben:
            assert ben.get("/api/assets").status_code == 429
        for _ in range(20):
            assert stranger.get(HEALTH).status_code == 200
            assert anna.get("/metrics").status_code == 200
            assert anna.post("/api/upload", files={"file": ("a.jpg", picture("cat"))}).status_code in (201, 409)


def test_requests_without_a_good_token_get_401_and_a_closed_connection(server: TeamServer) -> None:
    for token in (b"", b"Authorization: Bearer nonsense\r\n"):
        request = b"GET /api/assets HTTP/1.1\r\nHost: localhost\r\n%b\r\n" % token
        with server.connect(request) as connection:
            answer = connection.makefile("rb").read()  # until the server closes the connection
            assert answer.startswith(b"HTTP/1.1 401 ")
            assert b"\r\nconnection: close\r\n" in answer


def test_silent_connections_keep_others_connected(server: TeamServer) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(Config.connections_max + 88):
            stack.enter_context(server.connect())
        with server.stranger() as stranger, server.member("anna") as anna:
            assert stranger.get(HEALTH).status_code == 200
            assert anna.get("/api/assets").status_code == 200


def test_guesses_lock_out_guesses_and_no_honest_token(server: TeamServer) -> None:
    """Also a token that the server has not seen since its start, from the address of the guesses."""
    with server.stranger() as stranger:
        guesses = [
            stranger.get("/api/assets", headers={"authorization": f"Bearer {token}"}).status_code
            for token in [*(mint_token()[0] for _ in range(BURST_MAX + 2)), server.tokens["anna"][:-1] + "!"]
        ]
    assert guesses.index(429) in {BURST_MAX - 1, BURST_MAX}  # the test before made one
    assert guesses.count(401) <= BURST_MAX + 1  # one is allowed again after six seconds
    with server.member("anna") as anna:
        began = time.monotonic()
        assert anna.get("/api/assets").status_code == 200
        assert time.monotonic() - began < 5


def self_signed(folder: Path) -> tuple[Path, Path]:
    """Return a new certificate and its key."""
    certificate, key = folder / "cert.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    subprocess.run([*command, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    return certificate, key


@pytest.fixture
def few_descriptors() -> Iterator[None]:
    """Start servers with the soft limit that services get from systemd."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_silent_tls_connections_are_bounded_before_their_handshake(tmp_path: Path, few_descriptors: None) -> None:
    """Each would live until its handshake times out; the server starts with 1024 descriptors and raises the limit."""
    certificate, key = self_signed(tmp_path)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    with (
        team_server(tmp_path / "l", "--tls-cert", str(certificate), "--tls-key", str(key)) as server,
        contextlib.ExitStack() as stack,
    ):
        pid = server.process.process.pid
        assert resource.prlimit(pid, resource.RLIMIT_NOFILE)[0] > 1024
        before, began = descriptors(pid), time.monotonic()
        for _ in range(900):
            stack.enter_context(server.connect())
        with server.member("anna") as anna:
            assert anna.get("/api/assets").status_code == 200
            while descriptors(pid) - before > HANDSHAKES_MAX + 32:
                anna.get("/api/assets")
            assert time.monotonic() - began < HANDSHAKE_TIMEOUT_S, "they were closed before their handshake timed out"


def test_running_out_of_descriptors_is_logged_once_and_passes(tmp_path: Path) -> None:
    with team_server(tmp_path / "l") as server:
        pid = server.process.process.pid
        limit = descriptors(pid) + 20
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (limit, limit))
        with contextlib.ExitStack() as stack:
            connections = [stack.enter_context(server.connect()) for _ in range(60)]
            while descriptors(pid) < limit:
                time.sleep(0.01)
            for connection in connections[:30]:
                connection.close()
        with server.member("anna") as anna:
            assert anna.get("/api/assets").status_code == 200
        server.process.process.send_signal(signal.SIGTERM)
        assert server.process.ended().count("cannot accept connections") == 1


def test_a_silent_tls_handshake_times_out_within_ten_seconds(tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path)
    with team_server(tmp_path / "l", "--tls-cert", str(certificate), "--tls-key", str(key)) as server:
        began = time.monotonic()
        with server.connect() as connection, contextlib.suppress(ConnectionError, ssl.SSLError):
            assert connection.recv(1) == b""
        assert time.monotonic() - began < 15
