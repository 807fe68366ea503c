"""`sploot service`: have the daemon there at login, or no longer."""

import os

from sploot import exits, login, start
from sploot.login import Service
from sploot.reach import client
from sploot.status import seen
from sploot.systemd import user_name
from sploot.terminal import complain, print_json
from splootd.config import Paths

_MANAGERS = {"systemd": "systemd", "launchd": "launchd", "autostart": "the desktop"}


def install() -> int:
    """Write the files, have them heeded, and have the daemon run under them from now on."""
    paths, service = Paths.find(os.environ), login.service_of(os.environ)
    paths.make()
    for name in login.overruled(os.environ):
        complain(f"note: {name} is set here, and the service will not see it: sploot config set, or sploot login")
    login.write(service)
    start.stop(paths)  # one that was started by a command; the next one is the service's
    service.load()
    service.start()
    daemon = seen(client().answer("GET", "/v1/status")).daemon
    print(f"{_MANAGERS[service.kind]} starts {service.place.name} at login; it runs now, as process {daemon.pid}.")
    for file in service.files():
        print(f"written: {file}")
    if service.is_lingering() is False:
        print(f"It ends when you log out. To have it there from boot on: loginctl enable-linger {user_name()}")
    return exits.DONE


def uninstall() -> int:
    service = login.service_of(os.environ)
    if not any(file.exists() for file in service.files()):
        print("No service is installed.")
        return exits.DONE
    service.unload()
    login.remove(service)
    service.reload()
    print("The daemon is no longer started at login; the next command starts it as before.")
    return exits.DONE


def status(*, as_json: bool = False) -> int:
    """Whether it is installed; exit code 1 when it is not, or not whole."""
    service = login.service_of(os.environ)
    state = state_of(service)
    if as_json:
        print_json(state)
    else:
        for line in _lines(service, state):
            print(line)
    return exits.DONE if state["installed"] and state["enabled"] else exits.NOT_FOUND


def state_of(service: Service) -> dict[str, object]:
    installed = login.is_installed(service)
    return {
        "kind": service.kind,
        "name": service.place.name,
        "installed": installed,
        "enabled": installed and service.is_enabled(),
        "current": installed and login.is_current(service),
        "lingering": service.is_lingering(),
        "running": start.owner(Paths.find(os.environ)) is not None,
        "files": [str(file) for file in service.files()],
    }


def _lines(service: Service, state: dict[str, object]) -> list[str]:
    if not state["installed"]:
        return ["Not installed: the daemon starts with the first command. To have it at login: sploot service install"]
    lines = [f"{state['name']} of {_MANAGERS[service.kind]}: {'enabled' if state['enabled'] else 'not enabled'}"]
    lines.append("the daemon runs" if state["running"] else "the daemon does not run; the next command starts it")
    if not state["current"]:
        lines.append("its files are not what this version writes: sploot service install")
    if state["lingering"] is False:
        lines.append(f"ends with your session; from boot on: loginctl enable-linger {user_name()}")
    lines.append(f"its log: {service.log_command.format(name=service.place.name)}")
    return lines
