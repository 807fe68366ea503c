"""The service manager's side of the daemon: a socket handed over, readiness, the heartbeat, and excuses."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from splootd.control.door import bind
from splootd.errors import ConfigError, SplootError, StoreFull
from splootd.notify import Heartbeat, Supervisor

LIMIT_S = 20


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """Where a service manager hears what it is told."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(LIMIT_S)
        yield listener


def test_without_a_manager_there_is_nothing_to_take_and_nobody_to_tell(tmp_path: Path):
    supervisor = Supervisor.of({})
    assert supervisor.listener(tmp_path / "s") is None
    assert supervisor.watchdog_s is None
    supervisor.say("READY=1")
    supervisor.excuse(SplootError("nobody hears this"))


def test_what_is_meant_for_another_process_is_left_alone_and_passed_to_nobody():
    environ = {"LISTEN_PID": "1", "LISTEN_FDS": "1", "WATCHDOG_PID": "1", "WATCHDOG_USEC": "5000000", "HOME": "/"}
    supervisor = Supervisor.of(environ)
    assert supervisor.watchdog_s is None
    assert environ == {"HOME": "/"}


def test_a_manager_that_has_left_is_no_reason_to_stop(tmp_path: Path):
    Supervisor(address=str(tmp_path / "nobody")).say("READY=1")


def test_it_says_what_it_is_told_to_say(manager: socket.socket):
    Supervisor(address=manager.getsockname()).say("READY=1", "STATUS=at work")
    assert manager.recv(100) == b"READY=1\nSTATUS=at work"


def test_an_abstract_address_is_spoken_to():
    name = f"sploot-test-{os.getpid()}"
    if sys.platform != "linux":
        pytest.skip("abstract sockets are Linux's")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(f"\0{name}")
        Supervisor(address=f"@{name}").say("READY=1")
        assert listener.recv(100) == b"READY=1"


def test_a_socket_that_was_handed_over_is_used_and_stays_the_managers(tmp_path: Path):
    path = tmp_path / "s.sock"
    with bind(path) as manager:
        supervisor = Supervisor(sockets=(manager,))
        mine = supervisor.listener(path)
        assert mine is not None
        mine.close()
        with socket.socket(socket.AF_UNIX) as waiting:
            waiting.connect(str(path))  # the manager still listens


def test_a_socket_of_another_place_is_said(tmp_path: Path):
    with bind(tmp_path / "s.sock") as manager, pytest.raises(ConfigError, match=r"other\.sock") as caught:
        Supervisor(sockets=(manager,)).listener(tmp_path / "other.sock")
    assert caught.value.hint == "sploot service install"


@pytest.mark.parametrize(
    ("error", "code"),
    [(ConfigError("`x` may not be 9", "mend it"), "configuration"), (SplootError("it is damaged"), "not_started")],
)
def test_whoever_waits_is_told_why_no_daemon_will_answer(tmp_path: Path, error: SplootError, code: str):
    path = tmp_path / "s.sock"
    with bind(path) as manager, socket.socket(socket.AF_UNIX) as waiting:
        waiting.connect(str(path))
        waiting.sendall(b"GET /v1/status HTTP/1.1\r\n\r\n")
        waiting.shutdown(socket.SHUT_WR)
        waiting.settimeout(LIMIT_S)
        Supervisor(sockets=(manager,)).excuse(error)
        head, _, body = waiting.makefile("rb").read().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503")
    problem = json.loads(body)
    assert (problem["code"], problem["title"], problem["hint"]) == (code, error.title, error.hint)


async def test_the_heart_beats_after_the_database_came_back(manager: socket.socket):
    ticks: list[int] = []

    async def tick() -> None:
        ticks.append(1)

    await Heartbeat(Supervisor(address=manager.getsockname(), watchdog_s=9.0), tick).run_once()
    assert manager.recv(100) == b"WATCHDOG=1"
    assert ticks == [1]


async def test_a_full_disk_does_not_stop_the_heart(manager: socket.socket):
    async def tick() -> None:
        raise StoreFull("the disk is full")

    await Heartbeat(Supervisor(address=manager.getsockname(), watchdog_s=9.0), tick).run_once()
    assert manager.recv(100) == b"WATCHDOG=1"


async def test_nobody_who_does_not_watch_is_told():
    async def tick() -> None:
        raise AssertionError

    await Heartbeat(Supervisor(), tick).run()


def test_the_daemon_takes_the_socket_of_a_real_activation_and_tells_when_it_is_ready(
    tmp_path: Path, manager: socket.socket
):
    """As systemd does it: the socket is descriptor 3, and the variables name the process."""
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
        assert manager.recv(100) == b"READY=1\nSTATUS=at work"
        assert manager.recv(100) == b"WATCHDOG=1"
        with socket.socket(socket.AF_UNIX) as asking:
            asking.settimeout(LIMIT_S)
            asking.connect(str(path))
            asking.sendall(b"GET /v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert asking.makefile("rb").read().startswith(b"HTTP/1.1 200")
    finally:
        daemon.terminate()
        assert daemon.wait(LIMIT_S) == 0
    assert path.is_socket(), "what was handed over is not to be unlinked"
    listener.close()
