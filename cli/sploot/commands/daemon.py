"""`sploot daemon`: start, stop, restart or run the daemon."""

import os

from sploot import daemon_process, exit_codes
from sploot.daemon_connect import open_client
from sploot.lock_holder import get_running_pid
from splootd.config import Paths


def start_daemon() -> int:
    """Start the daemon if it is not running."""
    is_running = get_running_pid(Paths.from_environ(os.environ)) is not None
    open_client().request_json("GET", "/v1/status")
    print("The daemon is already running." if is_running else "The daemon started.")
    return exit_codes.DONE


def stop_daemon() -> int:
    """Finish the uploads in progress, then stop the daemon."""
    was_running = daemon_process.stop(Paths.from_environ(os.environ))
    print("The daemon stopped." if was_running else "The daemon is not running.")
    return exit_codes.DONE


def restart_daemon() -> int:
    """Stop the daemon and start it again."""
    daemon_process.stop(Paths.from_environ(os.environ))
    open_client().request_json("GET", "/v1/status")
    print("The daemon restarted.")
    return exit_codes.DONE


def run_daemon() -> int:
    """Run the daemon in the foreground."""
    daemon_process.exec_daemon()


COMMANDS = {
    "daemon start": start_daemon,
    "daemon stop": stop_daemon,
    "daemon restart": restart_daemon,
    "daemon run": run_daemon,
}
