"""Selects the service manager of this system, and installs, checks and upgrades its files."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from sploot.service import systemd
from sploot.service.autostart import Autostart
from sploot.service.unit_files import ServiceIdentity, written_by
from sploot.version_order import is_older
from splootd import __version__
from splootd.errors import SplootError

FILE_BYTES_MAX = 100_000
NETWORK_VARIABLES = frozenset({"http_proxy", "https_proxy", "all_proxy", "no_proxy", "ssl_cert_file", "ssl_cert_dir"})


class ServiceBackend(Protocol):
    """The interface of all service managers. Methods raise SplootError if the system refuses."""

    kind: str
    log_command: str
    identity: ServiceIdentity

    def files(self) -> dict[Path, str]: ...

    def load(self) -> None: ...

    def reload(self) -> None: ...

    def unload(self) -> None: ...

    def start_listening(self) -> bool: ...

    def start(self) -> None: ...

    def is_enabled(self) -> bool: ...

    def is_lingering(self) -> bool | None: ...


def get_backend(environ: Mapping[str, str]) -> ServiceBackend:
    """Return the service for the profile and home given by `environ`, whether or not it is installed."""
    identity = ServiceIdentity.from_environ(environ)
    if sys.platform == "darwin":
        from sploot.service.launchd import Launchd  # noqa: PLC0415 - only needed on macOS

        return Launchd(identity)
    return systemd.Systemd(identity) if systemd.is_available() else Autostart(identity)


def is_installed(service: ServiceBackend) -> bool:
    return all(file.exists() for file in service.files())


def is_current(service: ServiceBackend) -> bool:
    """Return True if the files are those that this version would write."""
    return all(_read_file(file) == text for file, text in service.files().items())


def write_files(service: ServiceBackend) -> None:
    """Write the service's files. The service manager reads them at `load` or `reload`."""
    for file, text in service.files().items():
        try:
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            temporary = file.with_name(f".{file.name}.new")
            temporary.write_text(text, "utf-8")
            temporary.replace(file)
        except OSError as error:
            raise SplootError(f"{file} cannot be written: {error.strerror}", "check the permissions") from error


def remove_files(service: ServiceBackend) -> None:
    for file in service.files():
        file.unlink(missing_ok=True)


def upgrade_files(environ: Mapping[str, str]) -> bool:
    """Rewrite files written by an older version. Return False if the service would still start the older version."""
    try:
        service = get_backend(environ)
        if is_installed(service) and any(
            is_older(written_by(_read_file(file)) or "0", __version__) for file in service.files()
        ):
            write_files(service)
            service.reload()
    except SplootError:
        return False
    return True


def ensure_listening(environ: Mapping[str, str]) -> bool:
    """Let the installed service listen on the socket. Return False if no service is installed or it fails."""
    try:
        service = get_backend(environ)
        return is_installed(service) and service.start_listening()
    except SplootError:
        return False


def _read_file(file: Path) -> str:
    try:
        with file.open(encoding="utf-8", errors="replace") as stream:
            return stream.read(FILE_BYTES_MAX)
    except OSError:
        return ""


def ignored_variables(environ: Mapping[str, str]) -> list[str]:
    """Return the variables that commands obey and the service ignores: it does not inherit this environment."""
    return [name for name in ("SPLOOT_SERVER", "SPLOOT_TOKEN", "SPLOOT_LOG_LEVEL") if environ.get(name)]


def ignored_network_variables(environ: Mapping[str, str]) -> list[str]:
    """Return the proxy and certificate variables of this shell. A service sees those of the session only."""
    return [name for name in environ if name.lower() in NETWORK_VARIABLES and environ[name]]
