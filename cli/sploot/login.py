"""Which service has the daemon there at login on this system, whether it is installed, and keeping its files new."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from sploot import systemd
from sploot.autostart import Autostart
from sploot.client import is_older
from sploot.unit import Place, stamp
from splootd import __version__
from splootd.errors import SplootError

FILE_BYTES_MAX = 100_000


class Service(Protocol):
    """What all of them can do. Methods raise SplootError where the system will not."""

    kind: str
    log_command: str
    place: Place

    def files(self) -> dict[Path, str]: ...

    def load(self) -> None: ...

    def reload(self) -> None: ...

    def unload(self) -> None: ...

    def listen(self) -> bool: ...

    def start(self) -> None: ...

    def is_enabled(self) -> bool: ...

    def is_lingering(self) -> bool | None: ...


def service_of(environ: Mapping[str, str]) -> Service:
    """The service of the place that `environ` means; it need not be installed."""
    place = Place.of(environ)
    if sys.platform == "darwin":
        from sploot.launchd import Launchd  # noqa: PLC0415 - elsewhere, a command is quicker without

        return Launchd(place)
    return systemd.Systemd(place) if systemd.runs_here() else Autostart(place)


def is_installed(service: Service) -> bool:
    return all(file.exists() for file in service.files())


def is_current(service: Service) -> bool:
    """Whether the files say what this version would write."""
    return all(_read(file) == text for file, text in service.files().items())


def write(service: Service) -> None:
    """Write the service's files; nothing is told of them yet."""
    for file, text in service.files().items():
        try:
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            fresh = file.with_name(f".{file.name}.new")
            fresh.write_text(text, "utf-8")
            fresh.replace(file)
        except OSError as error:
            raise SplootError(f"{file} cannot be written: {error.strerror}", "check the permissions") from error


def remove(service: Service) -> None:
    for file in service.files():
        file.unlink(missing_ok=True)


def refreshed(environ: Mapping[str, str]) -> bool:
    """Write anew what an older version wrote. False when a service would go on starting that older version."""
    try:
        service = service_of(environ)
        if is_installed(service) and any(is_older(stamp(_read(file)) or "0", __version__) for file in service.files()):
            write(service)
            service.reload()
    except SplootError:
        return False
    return True


def listens(environ: Mapping[str, str]) -> bool:
    """Have the installed service listen for the daemon; False when there is none, or it will not."""
    try:
        service = service_of(environ)
        return is_installed(service) and service.listen()
    except SplootError:
        return False


def _read(file: Path) -> str:
    try:
        with file.open(encoding="utf-8", errors="replace") as stream:
            return stream.read(FILE_BYTES_MAX)
    except OSError:
        return ""


def overruled(environ: Mapping[str, str]) -> list[str]:
    """Variables that commands heed here and the service will not: it has an environment of its own."""
    return [name for name in ("SPLOOT_SERVER", "SPLOOT_TOKEN", "SPLOOT_LOG_LEVEL") if environ.get(name)]
