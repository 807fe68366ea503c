"""A launchd agent of macOS, after launchctl(1) and launchd.plist(5)."""

import os
import subprocess
from pathlib import Path

from sploot.service.unit_files import ServiceIdentity, launchd_label, render_launchd_agent
from splootd.errors import SplootError

COMMAND_TIMEOUT_S = 60.0


class Launchd:
    """Runs `launchctl`. Creating an instance changes nothing."""

    kind = "launchd"
    log_command = "sploot logs"

    def __init__(self, identity: ServiceIdentity) -> None:
        self.identity = identity
        self._file = Path.home() / "Library" / "LaunchAgents" / f"{launchd_label(identity)}.plist"
        self._domain = f"gui/{os.getuid()}"
        self._service = f"{self._domain}/{launchd_label(identity)}"

    def files(self) -> dict[Path, str]:
        """Return the property list and its contents."""
        return {self._file: render_launchd_agent(self.identity)}

    def load(self) -> None:
        """Load the agent and start listening."""
        # `bootstrap` fails with error 5 while an older version of the agent is loaded.
        self._run_for_exit_code("bootout", self._service)
        self._run_checked("enable", self._service)
        self._run_checked("bootstrap", self._domain, str(self._file))

    def reload(self) -> None:
        """Load the agent again: launchd reads a changed file at no other time."""
        self.load()

    def unload(self) -> None:
        """Stop and unload the agent."""
        self._run_for_exit_code("bootout", self._service)

    def start_listening(self) -> bool:
        """Load the agent again, so that the next command starts the daemon."""
        self.load()
        return True

    def start(self) -> None:
        """Start the daemon."""
        self._run_checked("kickstart", self._service)

    def is_enabled(self) -> bool:
        return self._run_for_exit_code("print", self._service) == 0

    def is_lingering(self) -> bool | None:
        """Return None: an agent always runs as long as its user is logged in."""
        return None

    def _run_checked(self, *arguments: str) -> None:
        completed = self._run(*arguments)
        if completed.returncode != 0:
            raise SplootError(f"launchctl {arguments[0]} failed: {completed.stderr.strip() or completed.returncode}")

    def _run_for_exit_code(self, *arguments: str) -> int:
        return self._run(*arguments).returncode

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(  # noqa: S603 - the system's own program
                ["/bin/launchctl", *arguments], capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise SplootError(f"launchctl cannot be used: {error}") from error
