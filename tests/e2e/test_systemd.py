"""The daemon as a service of a real `systemd --user`: started by a command, watched over, never missed by anybody."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from usersystemd import SystemdHome, missing, user_systemd

from splootd import __version__

pytestmark = [pytest.mark.root, pytest.mark.skipif(bool(missing()), reason=str(missing()))]

NOBODY = "http://127.0.0.1:1"
SERVICE, SOCKET = "splootd.service", "splootd.socket"
KILLS = int(os.environ.get("SPLOOT_TEST_KILLS", "100"))


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SystemdHome]:
    """A home in which `sploot service install` has been run."""
    with user_systemd(tmp_path_factory.mktemp("home")) as home:
        home.ok("config", "set", "server", NOBODY)
        said = home.ok("service", "install")
        assert "starts splootd at login" in said
        assert "loginctl enable-linger" in said
        yield home


def main_pid(home: SystemdHome) -> int:
    return int(home.shown(SERVICE, "MainPID"))


def test_what_is_installed_is_enabled_active_and_the_daemon_that_answers(installed: SystemdHome):
    state = installed.json("service", "status")
    assert (state["kind"], state["installed"], state["enabled"], state["current"]) == ("systemd", True, True, True)
    assert installed.shown(SOCKET, "ActiveState") == "active"
    assert installed.shown(SERVICE, "StatusText") == "at work"
    assert installed.json("status")["daemon"]["pid"] == main_pid(installed) == installed.daemon_pid()


def test_a_user_service_really_gets_what_its_unit_asks_for(installed: SystemdHome):
    installed.ok("status")
    status = Path(f"/proc/{main_pid(installed)}/status").read_text()
    assert "NoNewPrivs:\t1" in status
    assert "Seccomp:\t2" in status
    assert os.getpriority(os.PRIO_PROCESS, main_pid(installed)) == 10


def test_a_daemon_that_was_stopped_is_started_by_the_next_command_and_by_nothing_else(installed: SystemdHome):
    installed.ok("status")
    assert installed.ok("daemon", "stop") == "The daemon has ended.\n"
    assert installed.ok("daemon", "stop") == "The daemon is not running.\n"
    assert installed.shown(SERVICE, "Result") == "success"
    assert installed.shown(SOCKET, "SubState") == "listening"
    assert installed.ok("daemon", "start") == "The daemon has started.\n"
    assert installed.json("status")["daemon"]["pid"] == main_pid(installed)


def test_a_restart_is_a_new_daemon_of_the_same_service(installed: SystemdHome):
    before = installed.json("status")["daemon"]["pid"]
    installed.ok("daemon", "restart")
    assert installed.json("status")["daemon"]["pid"] == main_pid(installed) != before


def test_a_wrong_configuration_is_told_to_whoever_waits_and_is_not_tried_again(installed: SystemdHome):
    installed.ok("daemon", "stop")
    file = Path(installed.ok("config", "path").strip())
    right = file.read_text()
    file.write_text("connections = 9\n")
    done = installed.run("status")
    assert done.returncode == 4
    assert "`connections` to 9" in done.stderr
    installed.await_state(SERVICE, "failed")
    assert installed.shown(SERVICE, "ExecMainStatus") == "78"
    assert installed.shown(SERVICE, "NRestarts") == "0"
    file.write_text(right)
    assert installed.json("status")["daemon"]["pid"] == main_pid(installed)


def test_a_stuck_daemon_is_ended_by_the_watchdog_and_started_again(installed: SystemdHome):
    dropin = installed.units / f"{SERVICE}.d" / "impatient.conf"
    dropin.parent.mkdir()
    dropin.write_text("[Service]\nWatchdogSec=2\nTimeoutAbortSec=1\n")
    installed.systemctl("daemon-reload")
    installed.ok("daemon", "restart")
    stuck = installed.json("status")["daemon"]["pid"]
    os.kill(stuck, signal.SIGSTOP)
    assert installed.json("status")["daemon"]["pid"] != stuck  # it waits at the socket for the next one
    dropin.unlink()
    dropin.parent.rmdir()
    installed.systemctl("daemon-reload")
    installed.ok("daemon", "restart")


@pytest.mark.timeout(600)  # a hundred starts of a daemon and as many commands
def test_killed_a_hundred_times_under_a_loop_of_commands_not_one_of_which_fails(installed: SystemdHome):
    outcomes, failures, is_over = list[int](), list[str](), threading.Event()
    answered = threading.Semaphore(0)
    pictures = installed.folder / "pictures"
    pictures.mkdir()

    def ask() -> None:
        number = 0
        while not is_over.is_set():
            number += 1
            file = pictures / f"{number}.png"
            file.write_bytes(b"\x89PNG\r\n\x1a\n" + str(number).encode())
            for command in (["status", "--json"], ["add", str(file)]):
                done = installed.run(*command)
                outcomes.append(done.returncode)
                if done.returncode:
                    failures.append(done.stderr)
                answered.release()

    asking = threading.Thread(target=ask)
    asking.start()
    killed = 0
    try:
        while killed < KILLS:
            assert answered.acquire(timeout=60)
            killed += installed.kill_daemon(signal.SIGKILL)
    finally:
        is_over.set()
        asking.join(120)
    print(f"{killed} kills, {len(outcomes)} commands, {len(failures)} failed")
    assert failures == []
    assert len(outcomes) >= KILLS
    assert installed.json("status")["items"]["total"] == len(list(pictures.iterdir()))


def test_units_of_an_older_version_are_written_anew_when_its_daemon_is_replaced(installed: SystemdHome):
    for unit in (SERVICE, SOCKET):
        file = installed.units / unit
        file.write_text(file.read_text().replace(f"sploot {__version__}", "sploot 0.0.1"))
    program = "import os; from sploot import login; print(login.refreshed(os.environ))"
    done = subprocess.run(
        installed.inside(sys.executable, "-c", program),
        env=installed.variables(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "True\n"
    assert installed.json("service", "status")["current"]


def test_the_units_pass_systemds_own_judgement(installed: SystemdHome):
    for unit in (SERVICE, SOCKET):
        done = subprocess.run(
            installed.inside("systemd-analyze", "verify", "--user", "--man=no", str(installed.units / unit)),
            env=installed.variables(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")


def test_a_profile_has_a_service_of_its_own(installed: SystemdHome):
    installed.ok("--profile", "work", "config", "set", "server", NOBODY)
    assert "splootd-work" in installed.ok("--profile", "work", "service", "install")
    mine, theirs = installed.json("status"), json.loads(installed.ok("--profile", "work", "status", "--json"))
    assert mine["daemon"]["pid"] == main_pid(installed)
    assert theirs["daemon"]["pid"] == int(installed.shown("splootd-work.service", "MainPID")) != main_pid(installed)
    installed.ok("--profile", "work", "service", "uninstall")
    assert not list(installed.units.glob("splootd-work*"))
    assert installed.json("status")["daemon"]["pid"] == mine["daemon"]["pid"]


def test_uninstalled_it_is_gone_and_commands_start_the_daemon_themselves(installed: SystemdHome):
    installed.ok("service", "uninstall")
    assert not list(installed.units.glob("splootd*"))
    assert installed.run("service", "status").returncode == 1
    daemon = installed.json("status")["daemon"]["pid"]
    assert daemon == installed.daemon_pid()
    assert installed.shown(SERVICE, "LoadState") == "not-found"
    installed.ok("daemon", "stop")
