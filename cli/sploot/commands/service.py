"""`sploot service`: start the daemon at login, or no longer."""

from __future__ import annotations

import os

from sploot import daemon_process, exit_codes
from sploot.commands.status import status_from_json
from sploot.daemon_connect import open_client
from sploot.lock_holder import get_running_pid
from sploot.service import backend
from sploot.service.backend import ServiceBackend
from sploot.service.unit_files import get_user_name
from sploot.terminal import print_json, print_stderr
from splootd.config import Paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sploot.typer_options import JsonOption

_MANAGER_NAMES = {"systemd": "systemd", "launchd": "launchd", "autostart": "the desktop"}


def install() -> int:
    """Start the daemon at login: with systemd, launchd or the desktop's autostart."""
    paths, service = Paths.from_environ(os.environ), backend.get_backend(os.environ)
    paths.create()
    for name in backend.ignored_variables(os.environ):
        print_stderr(f"note: the service ignores {name}; use sploot config set or sploot login instead")
    for name in backend.ignored_network_variables(os.environ):
        print_stderr(f"note: the service does not inherit {name} from this shell; set it for the whole session")
    backend.write_files(service)
    daemon_process.stop(paths)  # a daemon started by a command; the service starts its own
    service.load()
    service.start()
    daemon = status_from_json(open_client().request_json("GET", "/v1/status")).daemon
    manager, name = _MANAGER_NAMES[service.kind], service.identity.name
    print(f"{manager} starts {name} at login; it is running now as process {daemon.pid}.")
    for file in service.files():
        print(f"written: {file}")
    if service.is_lingering() is False:
        print(f"It stops when you log out. To keep it running from boot on: loginctl enable-linger {get_user_name()}")
    return exit_codes.DONE


def uninstall() -> int:
    """Stop starting the daemon at login."""
    service = backend.get_backend(os.environ)
    if not any(file.exists() for file in service.files()):
        print("No service is installed.")
        return exit_codes.DONE
    service.unload()
    backend.remove_files(service)
    service.reload()
    print("The daemon no longer starts at login. The next sploot command starts it.")
    return exit_codes.DONE


def status(*, as_json: JsonOption = False) -> int:
    """Show whether the daemon starts at login; the exit code is 1 if it does not."""
    service = backend.get_backend(os.environ)
    state = get_service_state(service)
    if as_json:
        print_json(state)
    else:
        for line in _render_state(service, state):
            print(line)
    return exit_codes.DONE if state["installed"] and state["enabled"] else exit_codes.NOT_FOUND


def get_service_state(service: ServiceBackend) -> dict[str, object]:
    installed = backend.is_installed(service)
    return {
        "kind": service.kind,
        "name": service.identity.name,
        "installed": installed,
        "enabled": installed and service.is_enabled(),
        "current": installed and backend.is_current(service),
        "lingering": service.is_lingering(),
        "running": get_running_pid(Paths.from_environ(os.environ)) is not None,
        "files": [str(file) for file in service.files()],
    }


def _render_state(service: ServiceBackend, state: dict[str, object]) -> list[str]:
    if not state["installed"]:
        return ["Not installed: the first command starts the daemon. To start it at login: sploot service install"]
    lines = [f"{state['name']} of {_MANAGER_NAMES[service.kind]}: {'enabled' if state['enabled'] else 'not enabled'}"]
    lines.append(
        "the daemon is running" if state["running"] else "the daemon is not running; the next command starts it"
    )
    if not state["current"]:
        lines.append("its files were written by another version; to update them: sploot service install")
    if state["lingering"] is False:
        lines.append(
            f"stops when you log out; to keep it running from boot on: loginctl enable-linger {get_user_name()}"
        )
    lines.append(f"log: {service.log_command.format(name=service.identity.name)}")
    return lines


COMMANDS = {"service install": install, "service uninstall": uninstall, "service status": status}
