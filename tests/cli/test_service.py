"""The files that start the daemon at login, on every system, and their upgrade."""

import configparser
import os
import plistlib
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from sploot.service import backend, systemd, unit_files
from sploot.service.autostart import Autostart
from sploot.service.launchd import Launchd
from sploot.service.systemd import Systemd
from sploot.service.unit_files import ServiceIdentity

from splootd import __version__
from splootd.errors import ConfigError

AWKWARD = 'a "b" 50% c\\d'  # a legal folder name

# The documented keys of launchd.plist(5) and their types.
DOCUMENTED = {
    "Label": str,
    "ProgramArguments": list,
    "EnvironmentVariables": dict,
    "WorkingDirectory": str,
    "RunAtLoad": bool,
    "KeepAlive": dict,
    "Sockets": dict,
    "ThrottleInterval": int,
    "ExitTimeOut": int,
    "ProcessType": str,
    "LowPriorityIO": bool,
    "Nice": int,
    "Umask": int,
    "StandardOutPath": str,
    "StandardErrorPath": str,
}
KEEP_ALIVE = {"SuccessfulExit": bool, "Crashed": bool, "PathState": dict, "OtherJobEnabled": dict}
SOCKET = {"SockPathName": str, "SockPathMode": int, "SockType": str, "SockPassive": bool}


@pytest.fixture
def environ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A home without a service manager."""
    monkeypatch.setattr(systemd, "SYSTEMD_RUN_FOLDER", tmp_path / "nothing")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return {"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path / "run")}


def settings(text: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # as its documentation recommends
    parser.read_string(text)
    return parser


def test_the_units_have_the_documented_settings(environ: dict[str, str]):
    identity = ServiceIdentity.from_environ(environ)
    service, socket = (
        settings(unit_files.render_systemd_service(identity)),
        settings(unit_files.render_systemd_socket(identity)),
    )
    assert service["Service"]["Type"] == "notify"
    assert service["Service"]["ExecStart"] == f'"{sys.executable}" -P -m splootd'
    assert service["Service"]["Restart"] == "on-failure"
    assert "78" in service["Service"]["RestartPreventExitStatus"].split()
    assert int(service["Service"]["WatchdogSec"]) > 0
    assert service["Unit"]["Requires"] == "splootd.socket"
    assert "network" not in unit_files.render_systemd_service(identity)
    assert socket["Socket"]["ListenStream"] == str(identity.socket)
    assert socket["Socket"]["SocketMode"] == "0600"


def test_no_placeholder_is_left(environ: dict[str, str]):
    identity = ServiceIdentity.from_environ({**environ, "SPLOOT_PROFILE": "work"})
    for text in (
        unit_files.render_systemd_service(identity),
        unit_files.render_systemd_socket(identity),
        unit_files.render_launchd_agent(identity),
    ):
        assert "@" not in text
        assert unit_files.written_by(text) == __version__


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
@pytest.mark.parametrize("home", ["plain", AWKWARD])
def test_systemd_verifies_the_units(environ: dict[str, str], tmp_path: Path, home: str):
    (tmp_path / "run").mkdir()
    identity = ServiceIdentity.from_environ({**environ, "SPLOOT_HOME": str(tmp_path / home)})
    files = {
        f"{identity.name}.socket": unit_files.render_systemd_socket(identity),
        f"{identity.name}.service": unit_files.render_systemd_service(identity),
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--user", "--man=no", *(str(tmp_path / name) for name in files)],
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path / "run")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_agent_is_a_property_list_of_documented_keys(environ: dict[str, str]):
    agent = plistlib.loads(unit_files.render_launchd_agent(ServiceIdentity.from_environ(environ)).encode())
    for name, value in agent.items():
        assert isinstance(value, DOCUMENTED[name]), name
    for name, value in agent["KeepAlive"].items():
        assert isinstance(value, KEEP_ALIVE[name]), name
    for name, value in agent["Sockets"]["control"].items():
        assert isinstance(value, SOCKET[name]), name
    assert agent["KeepAlive"] == {"SuccessfulExit": False}
    assert agent["ProcessType"] in ("Background", "Standard", "Adaptive", "Interactive")
    assert agent["ProgramArguments"][0] == sys.executable
    assert agent["Sockets"]["control"]["SockPathMode"] == 0o600
    assert "PATH" in agent["EnvironmentVariables"]


@pytest.mark.parametrize("name", ["a & b", AWKWARD])
def test_the_agent_contains_any_path_unchanged(environ: dict[str, str], tmp_path: Path, name: str):
    identity = ServiceIdentity.from_environ({**environ, "SPLOOT_HOME": str(tmp_path / name)})
    agent = plistlib.loads(unit_files.render_launchd_agent(identity).encode())
    assert agent["EnvironmentVariables"]["SPLOOT_HOME"] == str(tmp_path / name)
    assert agent["Sockets"]["control"]["SockPathName"] == str(identity.socket)


def test_the_desktops_entry_starts_the_daemon_of_its_home(environ: dict[str, str], tmp_path: Path):
    identity = ServiceIdentity.from_environ({**environ, "SPLOOT_HOME": str(tmp_path / AWKWARD)})
    line = settings(unit_files.render_desktop_entry(identity))["Desktop Entry"]["Exec"]
    words = shlex.split(line.replace("\\\\", "\\").replace("%%", "%"))
    assert words[:2] == ["env", f"SPLOOT_HOME={tmp_path / AWKWARD}"]
    assert words[2:] == [sys.executable, "-P", "-m", "sploot", "daemon", "start"]


def test_each_home_and_each_profile_has_a_service_of_its_own(environ: dict[str, str]):
    homes = [{}, {"SPLOOT_PROFILE": "work"}, {"SPLOOT_HOME": "/a"}, {"SPLOOT_HOME": "/b"}]
    identities = [ServiceIdentity.from_environ({**environ, **home}) for home in homes]
    assert len({identity.name for identity in identities}) == len(homes)
    assert len({identity.socket for identity in identities}) == len(homes)
    assert identities[1].name == "splootd-work"
    assert identities[1].environment == {"SPLOOT_PROFILE": "work"}


@pytest.mark.parametrize("name", ["", "..", "a/b", "A b", "x" * 40, "-a", "a--b"])
def test_an_invalid_profile_name_is_rejected(environ: dict[str, str], name: str):
    if not name:
        assert ServiceIdentity.from_environ({**environ, "SPLOOT_PROFILE": name}).name == "splootd"
        return
    with pytest.raises(ConfigError, match="not a valid profile name"):
        ServiceIdentity.from_environ({**environ, "SPLOOT_PROFILE": name})


def test_no_secret_is_written(environ: dict[str, str]):
    identity = ServiceIdentity.from_environ({**environ, "SPLOOT_TOKEN": "hush", "SPLOOT_SERVER": "https://hush"})
    for text in (
        unit_files.render_systemd_service(identity),
        unit_files.render_launchd_agent(identity),
        unit_files.render_desktop_entry(identity),
    ):
        assert "hush" not in text
    assert backend.ignored_variables({**environ, "SPLOOT_TOKEN": "hush"}) == ["SPLOOT_TOKEN"]


def test_queries_write_nothing(environ: dict[str, str], tmp_path: Path):
    service = backend.get_backend(environ)
    assert not backend.is_installed(service)
    assert not backend.ensure_listening(environ)
    assert backend.upgrade_files(environ)
    assert list(tmp_path.iterdir()) == []


def test_without_a_service_manager_the_desktop_starts_it(environ: dict[str, str], tmp_path: Path):
    service = backend.get_backend(environ)
    assert isinstance(service, Autostart)
    backend.write_files(service)
    assert [str(file) for file in service.files()] == [str(tmp_path / "config" / "autostart" / "splootd.desktop")]
    assert backend.is_installed(service)
    assert backend.is_current(service)
    backend.remove_files(service)
    assert not backend.is_installed(service)


def test_files_of_an_older_version_are_upgraded_and_of_a_newer_one_kept(environ: dict[str, str]):
    service = backend.get_backend(environ)
    backend.write_files(service)
    (file,) = service.files()
    file.write_text(file.read_text().replace(__version__, "0.0.1"))
    assert not backend.is_current(service)
    assert backend.upgrade_files(environ)
    assert backend.is_current(service)
    file.write_text(file.read_text().replace(__version__, "99.0.0"))
    assert backend.upgrade_files(environ)
    assert unit_files.written_by(file.read_text()) == "99.0.0"


def test_a_failed_upgrade_is_reported(environ: dict[str, str]):
    service = backend.get_backend(environ)
    backend.write_files(service)
    (file,) = service.files()
    file.write_text(file.read_text().replace(__version__, "0.0.1"))
    (file.parent / f".{file.name}.new").mkdir()  # blocks the temporary file
    assert not backend.upgrade_files(environ)


def test_constructing_a_service_touches_nothing(environ: dict[str, str], tmp_path: Path):
    identity = ServiceIdentity.from_environ(environ)
    for service in (Systemd(identity), Launchd(identity), Autostart(identity)):
        assert service.files()
    assert list(tmp_path.iterdir()) == []


def test_proxy_and_certificate_variables_of_the_shell_are_noted():
    environ = {"HTTPS_PROXY": "http://p", "no_proxy": "", "SSL_CERT_FILE": "/c.pem", "HOME": "/h"}
    assert backend.ignored_network_variables(environ) == ["HTTPS_PROXY", "SSL_CERT_FILE"]
