"""The systemd user manager: a socket unit that always listens, and the daemon started by it."""

from __future__ import annotations

import os
from pathlib import Path

from sploot.service.unit_files import ServiceIdentity, get_user_name, render_systemd_service, render_systemd_socket
from splootd.errors import SplootError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import subprocess

COMMAND_TIMEOUT_S = 60.0
LINGER_FOLDER = Path("/var/lib/systemd/linger")
SYSTEMD_RUN_FOLDER = Path("/run/systemd/system")  # sd_booted(3)


def is_available() -> bool:
    if not SYSTEMD_RUN_FOLDER.is_dir():
        return False
    import shutil  # noqa: PLC0415 - slow to import, and only needed with systemd

    return shutil.which("systemctl") is not None


class Systemd:
    """Runs `systemctl --user`. Creating an instance changes nothing."""

    kind = "systemd"
    log_command = "journalctl --user -u {name}.service"

    def __init__(self, identity: ServiceIdentity) -> None:
        self.identity = identity
        self._units = [f"{identity.name}.socket", f"{identity.name}.service"]

    def files(self) -> dict[Path, str]:
        """Return the unit files and their contents."""
        folder = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "systemd" / "user"
        texts = (render_systemd_socket(self.identity), render_systemd_service(self.identity))
        return {folder / unit: text for unit, text in zip(self._units, texts, strict=True)}

    def load(self) -> None:
        """Enable the units and start listening."""
        self.reload()
        self._run_checked("enable", "--quiet", *self._units)
        self.start_listening()

    def reload(self) -> None:
        """Read changed unit files; they apply from the next start of the daemon."""
        self._run_checked("daemon-reload")

    def unload(self) -> None:
        """Stop and disable the units."""
        self._run_checked("disable", "--quiet", "--now", *reversed(self._units))

    def start_listening(self) -> bool:
        """Restart the socket unit, so that the next command starts the daemon."""
        # After repeated failures systemd refuses to start the units until their failed state is reset.
        self._run("reset-failed", *self._units)
        self._run_checked("restart", self._units[0])
        return True

    def start(self) -> None:
        """Start the daemon and wait until it is ready."""
        self._run_checked("start", self._units[1])

    def is_enabled(self) -> bool:
        """Return True if all units are enabled: the exit code of `is-enabled` is 0 if any of them is."""
        return self._run("is-enabled", *self._units).stdout.split() == ["enabled"] * len(self._units)

    def is_lingering(self) -> bool | None:
        """Return True if the user manager runs from boot on, without a login."""
        return (LINGER_FOLDER / get_user_name()).exists()

    def _run_checked(self, *arguments: str) -> None:
        completed = self._run(*arguments)
        if completed.returncode != 0:
            error_lines = completed.stderr.strip().splitlines()
            hint = "`systemctl --user status` must work in this session"
            raise SplootError(
                f"systemctl --user {arguments[0]} failed: {' '.join(error_lines) or completed.returncode}", hint
            )

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        import subprocess  # noqa: PLC0415 - only needed with systemd

        command = ["systemctl", "--user", "--no-ask-password", *arguments]
        try:
            return subprocess.run(  # noqa: S603 - the system's own program
                command,
                capture_output=True,
                text=True,
                timeout=COMMAND_TIMEOUT_S,
                check=False,
                stdin=subprocess.DEVNULL,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise SplootError(f"systemctl cannot be used: {error}") from error
