"""The daemon as a service of a real `systemd --user`: socket activation, watchdog and restarts."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from user_systemd import SystemdHome, missing_requirement, user_systemd

from splootd import __version__

pytestmark = [pytest.mark.root, pytest.mark.skipif(bool(missing_requirement()), reason=str(missing_requirement()))]

UNREACHABLE = "http://127.0.0.1:1"
SERVICE, SOCKET = "splootd.service", "splootd.socket"
KILLS = int(os.environ.get("SPLOOT_TEST_KILLS", "20"))


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SystemdHome]:
    """A home in which `sploot service install` has been run."""
    with user_systemd(tmp_path_factory.mktemp("home")) as home:
        home.ok("config", "set", "server", UNREACHABLE)
        output = home.ok("service", "install")
        assert "starts splootd at login" in output
        assert "loginctl enable-linger" in output
        yield home


def main_pid(home: SystemdHome) -> int:
    return int(home.get_property(SERVICE, "MainPID"))


def test_the_installed_service_is_enabled_active_and_runs_the_daemon(installed: SystemdHome):
    state = installed.json("service", "status")
    assert (state["kind"], state["installed"], state["enabled"], state["current"]) == ("systemd", True, True, True)
    assert installed.get_property(SOCKET, "ActiveState") == "active"
    assert installed.get_property(SERVICE, "StatusText") == "running"
    assert installed.json("status")["daemon"]["pid"] == main_pid(installed) == installed.daemon_pid()


def test_the_settings_of_the_unit_take_effect(installed: SystemdHome):
    installed.ok("status")
    status = Path(f"/proc/{main_pid(installed)}/status").read_text()
    assert "NoNewPrivs:\t1" in status
    assert "Seccomp:\t2" in status
    assert os.getpriority(os.PRIO_PROCESS, main_pid(installed)) == 10


def test_a_stopped_daemon_is_started_by_the_next_command_only(installed: SystemdHome):
    installed.ok("status")
    assert installed.ok("daemon", "stop") == "The daemon stopped.\n"
    assert installed.ok("daemon", "stop") == "The daemon is not running.\n"
    assert installed.get_property(SERVICE, "Result") == "success"
    assert installed.get_property(SOCKET, "SubState") == "listening"
    assert installed.ok("daemon", "start") == "The daemon started.\n"
    assert installed.json("status")["daemon"]["pid"] == main_pid(installed)


def test_a_restart_is_a_new_daemon_of_the_same_service(installed: SystemdHome):
    before = installed.json("status")["daemon"]["pid"]
    installed.ok("daemon", "restart")
    assert installed.json("status")["daemon"]["pid"] == main_pid(installed) != before


def test_an_invalid_configuration_is_reported_to_the_client_and_not_retried(installed: SystemdHome):
    installed.ok("daemon", "stop")
    file = Path(installed.ok("config", "path").strip())
    valid = file.read_text()
    file.write_text("connections = 9\n")
    completed = installed.run("status")
    assert completed.returncode == 4
    assert "`connections` to 9" in completed.stderr
    installed.wait_for_state(SERVICE, "failed")
    assert installed.get_property(SERVICE, "ExecMainStatus") == "78"
    assert installed.get_property(SERVICE, "NRestarts") == "0"
    file.write_text(valid)
    assert installed.json("status")["daemon"]["pid"] == main_pid(installed)


def test_a_stuck_daemon_is_restarted_by_the_watchdog(installed: SystemdHome):
    dropin = installed.units / f"{SERVICE}.d" / "impatient.conf"
    dropin.parent.mkdir()
    dropin.write_text("[Service]\nWatchdogSec=2\nTimeoutAbortSec=1\n")
    installed.systemctl("daemon-reload")
    installed.ok("daemon", "restart")
    stuck = installed.json("status")["daemon"]["pid"]
    os.kill(stuck, signal.SIGSTOP)
    while main_pid(installed) in {stuck, 0}:
        pass
    assert installed.json("status")["daemon"]["pid"] != stuck
    dropin.unlink()
    dropin.parent.rmdir()
    installed.systemctl("daemon-reload")
    installed.ok("daemon", "restart")


@pytest.mark.timeout(600)  # for a hundred kills
def test_no_command_fails_while_the_daemon_is_killed_repeatedly(installed: SystemdHome):
    exit_codes, failures, is_over = list[int](), list[str](), threading.Event()
    finished = threading.Semaphore(0)
    pictures = installed.folder / "pictures"
    pictures.mkdir()

    def run_commands() -> None:
        number = 0
        while not is_over.is_set():
            number += 1
            file = pictures / f"{number}.png"
            file.write_bytes(b"\x89PNG\r\n\x1a\n" + str(number).encode())
            for command in (["status", "--json"], ["add", str(file)]):
                completed = installed.run(*command)
                exit_codes.append(completed.returncode)
                if completed.returncode:
                    failures.append(completed.stderr)
                finished.release()

    thread = threading.Thread(target=run_commands)
    thread.start()
    killed = 0
    try:
        while killed < KILLS:
            assert finished.acquire(timeout=60)
            killed += installed.kill_daemon(signal.SIGKILL)
    finally:
        is_over.set()
        thread.join(120)
    print(f"{killed} kills, {len(exit_codes)} commands, {len(failures)} failed")
    assert failures == []
    assert len(exit_codes) >= KILLS
    assert installed.json("status")["items"]["total"] == len(list(pictures.iterdir()))


def test_units_of_an_older_version_are_upgraded_with_its_daemon(installed: SystemdHome):
    for unit in (SERVICE, SOCKET):
        file = installed.units / unit
        file.write_text(file.read_text().replace(f"sploot {__version__}", "sploot 0.0.1"))
    program = "import os; from sploot.service import backend; print(backend.upgrade_files(os.environ))"
    completed = subprocess.run(
        installed.inside(sys.executable, "-c", program),
        env=installed.variables(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert completed.stdout == "True\n"
    assert installed.json("service", "status")["current"]


def test_systemd_analyze_accepts_the_units(installed: SystemdHome):
    for unit in (SERVICE, SOCKET):
        completed = subprocess.run(
            installed.inside("systemd-analyze", "verify", "--user", "--man=no", str(installed.units / unit)),
            env=installed.variables(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert (completed.returncode, completed.stderr) == (0, "")


def test_each_profile_has_its_own_service(installed: SystemdHome):
    installed.ok("--profile", "work", "config", "set", "server", UNREACHABLE)
    assert "splootd-work" in installed.ok("--profile", "work", "service", "install")
    default, work = installed.json("status"), json.loads(installed.ok("--profile", "work", "status", "--json"))
    assert default["daemon"]["pid"] == main_pid(installed)
    assert (
        work["daemon"]["pid"] == int(installed.get_property("splootd-work.service", "MainPID")) != main_pid(installed)
    )
    installed.ok("--profile", "work", "service", "uninstall")
    assert not list(installed.units.glob("splootd-work*"))
    assert installed.json("status")["daemon"]["pid"] == default["daemon"]["pid"]


def test_after_uninstall_commands_start_the_daemon_themselves(installed: SystemdHome):
    installed.ok("service", "uninstall")
    assert not list(installed.units.glob("splootd*"))
    assert installed.run("service", "status").returncode == 1
    daemon = installed.json("status")["daemon"]["pid"]
    assert daemon == installed.daemon_pid()
    assert installed.get_property(SERVICE, "LoadState") == "not-found"
    installed.ok("daemon", "stop")
