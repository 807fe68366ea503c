"""The daemon as a service of the user's own systemd: a socket that is always there, and the daemon behind it."""

from __future__ import annotations

import os
from pathlib import Path

from sploot.unit import Place, systemd_service, systemd_socket
from splootd.errors import SplootError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import subprocess

COMMAND_S = 60.0
LINGERING = Path("/var/lib/systemd/linger")
RUNS = Path("/run/systemd/system")  # sd_booted(3)


def runs_here() -> bool:
    if not RUNS.is_dir():
        return False
    import shutil  # noqa: PLC0415 - elsewhere, a command is quicker without

    return shutil.which("systemctl") is not None


class Systemd:
    """Does what `systemctl --user` does. Nothing is touched until a method is called."""

    kind = "systemd"
    log_command = "journalctl --user -u {name}.service"

    def __init__(self, place: Place) -> None:
        self.place = place
        self._units = [f"{place.name}.socket", f"{place.name}.service"]

    def files(self) -> dict[Path, str]:
        """What is to be written where."""
        folder = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "systemd" / "user"
        texts = (systemd_socket(self.place), systemd_service(self.place))
        return {folder / unit: text for unit, text in zip(self._units, texts, strict=True)}

    def load(self) -> None:
        """Have it known, there at login, and listening from now on."""
        self.reload()
        self._do("enable", "--quiet", *self._units)
        self.listen()

    def reload(self) -> None:
        """Have the files that were written anew heeded, whenever the daemon begins the next time."""
        self._do("daemon-reload")

    def unload(self) -> None:
        """End it, and have it forgotten."""
        self._do("disable", "--quiet", "--now", *reversed(self._units))

    def listen(self) -> bool:
        """Have the socket there, whatever happened before: the next command starts the daemon."""
        self._run("reset-failed", *self._units)
        self._do("restart", self._units[0])
        return True

    def start(self) -> None:
        """Start the daemon and wait until it is ready."""
        self._do("start", self._units[1])

    def is_enabled(self) -> bool:
        """Whether all of it is; the exit code would speak of any of it."""
        return self._run("is-enabled", *self._units).stdout.split() == ["enabled"] * len(self._units)

    def is_lingering(self) -> bool | None:
        """Whether it is there from boot on, without a login."""
        return (LINGERING / user_name()).exists()

    def _do(self, *arguments: str) -> None:
        done = self._run(*arguments)
        if done.returncode != 0:
            said = done.stderr.strip().splitlines()
            hint = "is this a login session of its own? `systemctl --user status` must work here"
            raise SplootError(f"systemctl --user {arguments[0]} failed: {' '.join(said) or done.returncode}", hint)

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        import subprocess  # noqa: PLC0415 - needed where it is installed alone

        command = ["systemctl", "--user", "--no-ask-password", *arguments]
        try:
            return subprocess.run(  # noqa: S603 - the system's own program
                command, capture_output=True, text=True, timeout=COMMAND_S, check=False, stdin=subprocess.DEVNULL
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise SplootError(f"systemctl cannot be used: {error}") from error


def user_name() -> str:
    import pwd  # noqa: PLC0415 - rarely asked for

    return pwd.getpwuid(os.getuid()).pw_name
