"""What is written for the daemon to be there at login, on every system, and when it is written anew."""

import configparser
import os
import plistlib
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from sploot import login, systemd, unit
from sploot.autostart import Autostart
from sploot.launchd import Launchd
from sploot.systemd import Systemd
from sploot.unit import Place

from splootd import __version__
from splootd.errors import ConfigError

AWKWARD = 'a "b" 50% c\\d'  # what a folder may be called

# launchd.plist(5): the keys that are documented, with the types that they take.
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
    monkeypatch.setattr(systemd, "RUNS", tmp_path / "nothing")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return {"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path / "run")}


def settings(text: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # as its documentation says
    parser.read_string(text)
    return parser


def test_the_units_say_what_they_promise(environ: dict[str, str]):
    place = Place.of(environ)
    service, socket = settings(unit.systemd_service(place)), settings(unit.systemd_socket(place))
    assert service["Service"]["Type"] == "notify"
    assert service["Service"]["ExecStart"] == f'"{sys.executable}" -P -m splootd'
    assert service["Service"]["Restart"] == "on-failure"
    assert "78" in service["Service"]["RestartPreventExitStatus"].split()
    assert int(service["Service"]["WatchdogSec"]) > 0
    assert service["Unit"]["Requires"] == "splootd.socket"
    assert "network" not in unit.systemd_service(place)
    assert socket["Socket"]["ListenStream"] == str(place.socket)
    assert socket["Socket"]["SocketMode"] == "0600"


def test_nothing_is_left_to_fill_in(environ: dict[str, str]):
    place = Place.of({**environ, "SPLOOT_PROFILE": "work"})
    for text in (unit.systemd_service(place), unit.systemd_socket(place), unit.launchd_agent(place)):
        assert "@" not in text
        assert unit.stamp(text) == __version__


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
@pytest.mark.parametrize("home", ["plain", AWKWARD])
def test_systemd_finds_no_fault_with_the_units(environ: dict[str, str], tmp_path: Path, home: str):
    (tmp_path / "run").mkdir()
    place = Place.of({**environ, "SPLOOT_HOME": str(tmp_path / home)})
    files = {f"{place.name}.socket": unit.systemd_socket(place), f"{place.name}.service": unit.systemd_service(place)}
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
    agent = plistlib.loads(unit.launchd_agent(Place.of(environ)).encode())
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
def test_the_agent_takes_any_path_as_it_is(environ: dict[str, str], tmp_path: Path, name: str):
    place = Place.of({**environ, "SPLOOT_HOME": str(tmp_path / name)})
    agent = plistlib.loads(unit.launchd_agent(place).encode())
    assert agent["EnvironmentVariables"]["SPLOOT_HOME"] == str(tmp_path / name)
    assert agent["Sockets"]["control"]["SockPathName"] == str(place.socket)


def test_the_desktops_entry_starts_the_daemon_of_its_home(environ: dict[str, str], tmp_path: Path):
    place = Place.of({**environ, "SPLOOT_HOME": str(tmp_path / AWKWARD)})
    line = settings(unit.desktop_entry(place))["Desktop Entry"]["Exec"]
    words = shlex.split(line.replace("\\\\", "\\").replace("%%", "%"))
    assert words[:2] == ["env", f"SPLOOT_HOME={tmp_path / AWKWARD}"]
    assert words[2:] == [sys.executable, "-P", "-m", "sploot", "daemon", "start"]


def test_each_home_and_each_profile_has_a_service_of_its_own(environ: dict[str, str]):
    homes = [{}, {"SPLOOT_PROFILE": "work"}, {"SPLOOT_HOME": "/a"}, {"SPLOOT_HOME": "/b"}]
    places = [Place.of({**environ, **home}) for home in homes]
    assert len({place.name for place in places}) == len(homes)
    assert len({place.socket for place in places}) == len(homes)
    assert places[1].name == "splootd-work"
    assert places[1].environment == {"SPLOOT_PROFILE": "work"}


@pytest.mark.parametrize("name", ["", "..", "a/b", "A b", "x" * 40, "-a", "a--b"])
def test_a_profile_whose_name_would_not_do_as_a_file_is_refused(environ: dict[str, str], name: str):
    if not name:
        assert Place.of({**environ, "SPLOOT_PROFILE": name}).name == "splootd"
        return
    with pytest.raises(ConfigError, match="name of a profile"):
        Place.of({**environ, "SPLOOT_PROFILE": name})


def test_no_secret_is_written(environ: dict[str, str]):
    place = Place.of({**environ, "SPLOOT_TOKEN": "hush", "SPLOOT_SERVER": "https://hush"})
    for text in (unit.systemd_service(place), unit.launchd_agent(place), unit.desktop_entry(place)):
        assert "hush" not in text
    assert login.overruled({**environ, "SPLOOT_TOKEN": "hush"}) == ["SPLOOT_TOKEN"]


def test_asking_writes_nothing(environ: dict[str, str], tmp_path: Path):
    service = login.service_of(environ)
    assert not login.is_installed(service)
    assert not login.listens(environ)
    assert login.refreshed(environ)
    assert list(tmp_path.iterdir()) == []


def test_without_a_service_manager_the_desktop_starts_it(environ: dict[str, str], tmp_path: Path):
    service = login.service_of(environ)
    assert isinstance(service, Autostart)
    login.write(service)
    assert [str(file) for file in service.files()] == [str(tmp_path / "config" / "autostart" / "splootd.desktop")]
    assert login.is_installed(service)
    assert login.is_current(service)
    login.remove(service)
    assert not login.is_installed(service)


def test_what_an_older_version_wrote_is_written_anew_and_a_newer_one_is_left(environ: dict[str, str]):
    service = login.service_of(environ)
    login.write(service)
    (file,) = service.files()
    file.write_text(file.read_text().replace(__version__, "0.0.1"))
    assert not login.is_current(service)
    assert login.refreshed(environ)
    assert login.is_current(service)
    file.write_text(file.read_text().replace(__version__, "99.0.0"))
    assert login.refreshed(environ)
    assert unit.stamp(file.read_text()) == "99.0.0"


def test_a_service_that_cannot_be_refreshed_would_start_the_old_daemon_again(environ: dict[str, str]):
    service = login.service_of(environ)
    login.write(service)
    (file,) = service.files()
    file.write_text(file.read_text().replace(__version__, "0.0.1"))
    (file.parent / f".{file.name}.new").mkdir()  # nothing can be written there now
    assert not login.refreshed(environ)


def test_constructing_a_service_touches_nothing(environ: dict[str, str], tmp_path: Path):
    place = Place.of(environ)
    for service in (Systemd(place), Launchd(place), Autostart(place)):
        assert service.files()
    assert list(tmp_path.iterdir()) == []
