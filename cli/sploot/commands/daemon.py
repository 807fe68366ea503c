"""`sploot daemon`: start, stop, restart or run the daemon."""

import os

from sploot import daemon_process, exit_codes
from sploot.daemon_connect import open_client
from splootd.config import Paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typer import Typer


def start_daemon() -> int:
    is_running = daemon_process.get_running_pid(Paths.from_environ(os.environ)) is not None
    open_client().request_json("GET", "/v1/status")
    print("The daemon is already running." if is_running else "The daemon started.")
    return exit_codes.DONE


def stop_daemon() -> int:
    was_running = daemon_process.stop(Paths.from_environ(os.environ))
    print("The daemon stopped." if was_running else "The daemon is not running.")
    return exit_codes.DONE


def restart_daemon() -> int:
    daemon_process.stop(Paths.from_environ(os.environ))
    open_client().request_json("GET", "/v1/status")
    print("The daemon restarted.")
    return exit_codes.DONE


def run_daemon() -> int:
    daemon_process.exec_daemon()


def register(app: "Typer") -> None:
    import typer

    group = typer.Typer(help="Start and stop the daemon.", no_args_is_help=True, rich_markup_mode=None)
    app.add_typer(group, name="daemon")

    @group.command("start")
    def start() -> int:
        """Start the daemon if it is not running."""
        return start_daemon()

    @group.command("stop")
    def stop() -> int:
        """Finish the uploads in progress, then stop the daemon."""
        return stop_daemon()

    @group.command("restart")
    def restart() -> int:
        """Stop the daemon and start it again."""
        return restart_daemon()

    @group.command("run")
    def run() -> int:
        """Run the daemon in the foreground."""
        return run_daemon()
