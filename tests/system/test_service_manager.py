"""The interface to the service manager: inherited sockets, readiness, heartbeat, and error replies."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from splootd.control.server import bind
from splootd.errors import ConfigError, SplootError, StoreFull
from splootd.system.service_manager import Heartbeat, ServiceManager

LIMIT_S = 20


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """A service manager's notification socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(LIMIT_S)
        yield listener


def test_without_a_manager_there_are_no_sockets_and_notifications_do_nothing(tmp_path: Path):
    service_manager = ServiceManager.from_environ({})
    assert service_manager.listening_socket(tmp_path / "s") is None
    assert service_manager.watchdog_s is None
    service_manager.notify("READY=1")
    service_manager.reply_error(SplootError("not sent anywhere"))


def test_variables_for_another_process_are_ignored_and_removed():
    environ = {"LISTEN_PID": "1", "LISTEN_FDS": "1", "WATCHDOG_PID": "1", "WATCHDOG_USEC": "5000000", "HOME": "/"}
    service_manager = ServiceManager.from_environ(environ)
    assert service_manager.watchdog_s is None
    assert environ == {"HOME": "/"}


def test_a_manager_that_has_exited_is_no_error(tmp_path: Path):
    ServiceManager(address=str(tmp_path / "none")).notify("READY=1")


def test_a_notification_has_one_line_per_value(manager: socket.socket):
    ServiceManager(address=manager.getsockname()).notify("READY=1", "STATUS=running")
    assert manager.recv(100) == b"READY=1\nSTATUS=running"


def test_an_abstract_address_works():
    name = f"sploot-test-{os.getpid()}"
    if sys.platform != "linux":
        pytest.skip("abstract sockets are Linux's")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(f"\0{name}")
        ServiceManager(address=f"@{name}").notify("READY=1")
        assert listener.recv(100) == b"READY=1"


def test_an_inherited_socket_is_used_and_stays_the_managers(tmp_path: Path):
    path = tmp_path / "s.sock"
    with bind(path) as manager:
        service_manager = ServiceManager(sockets=(manager,))
        inherited = service_manager.listening_socket(path)
        assert inherited is not None
        inherited.close()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))  # the manager still listens


def test_an_inherited_socket_at_another_path_is_an_error(tmp_path: Path):
    with bind(tmp_path / "s.sock") as manager, pytest.raises(ConfigError, match=r"other\.sock") as caught:
        ServiceManager(sockets=(manager,)).listening_socket(tmp_path / "other.sock")
    assert caught.value.hint == "sploot service install"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("`x` must not be 9", "set it to 8"), "configuration"),
        (SplootError("queue.db is damaged"), "not_started"),
    ],
)
def test_a_waiting_client_receives_the_error(tmp_path: Path, error: SplootError, code: str):
    path = tmp_path / "s.sock"
    with bind(path) as manager, socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.sendall(b"GET /v1/status HTTP/1.1\r\n\r\n")
        client.shutdown(socket.SHUT_WR)
        client.settimeout(LIMIT_S)
        ServiceManager(sockets=(manager,)).reply_error(error)
        head, _, body = client.makefile("rb").read().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503")
    problem = json.loads(body)
    assert (problem["code"], problem["title"], problem["hint"]) == (code, error.title, error.hint)


async def test_the_heartbeat_is_sent_after_the_health_check(manager: socket.socket):
    checks: list[int] = []

    async def health_check() -> None:
        checks.append(1)

    await Heartbeat(ServiceManager(address=manager.getsockname(), watchdog_s=9.0), health_check).run_once()
    assert manager.recv(100) == b"WATCHDOG=1"
    assert checks == [1]


async def test_a_full_disk_does_not_stop_the_heartbeat(manager: socket.socket):
    async def health_check() -> None:
        raise StoreFull("the disk is full")

    await Heartbeat(ServiceManager(address=manager.getsockname(), watchdog_s=9.0), health_check).run_once()
    assert manager.recv(100) == b"WATCHDOG=1"


async def test_without_a_watchdog_no_health_check_runs():
    async def health_check() -> None:
        raise AssertionError

    await Heartbeat(ServiceManager(), health_check).run()


def test_the_daemon_uses_an_activated_socket_and_reports_when_it_is_ready(tmp_path: Path, manager: socket.socket):
    """As with systemd, the socket is descriptor 3, and the variables name the process."""
    path = tmp_path / "home" / "run" / "splootd.sock"
    listener = bind(path)
    environ = {
        **os.environ,
        "SPLOOT_HOME": str(tmp_path / "home"),
        "SPLOOT_SERVER": "http://127.0.0.1:1",
        "NOTIFY_SOCKET": manager.getsockname(),
        "WATCHDOG_USEC": "300000",
    }
    program = (
        f"import os, sys; os.dup2({listener.fileno()}, 3);"
        " os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1');"
        " os.execv(sys.executable, [sys.executable, '-m', 'splootd'])"
    )
    daemon = subprocess.Popen([sys.executable, "-c", program], env=environ, pass_fds=(listener.fileno(),))
    try:
        assert manager.recv(100) == b"READY=1\nSTATUS=running"
        assert manager.recv(100) == b"WATCHDOG=1"
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(LIMIT_S)
            client.connect(str(path))
            client.sendall(b"GET /v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert client.makefile("rb").read().startswith(b"HTTP/1.1 200")
    finally:
        daemon.terminate()
        assert daemon.wait(LIMIT_S) == 0
    assert path.is_socket(), "an inherited socket must not be unlinked"
    listener.close()
