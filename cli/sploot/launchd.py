"""The daemon as an agent of macOS' launchd. Written from launchctl(1) and launchd.plist(5)."""

import os
import subprocess
from pathlib import Path

from sploot.unit import Place, agent_label, launchd_agent
from splootd.errors import SplootError

COMMAND_S = 60.0


class Launchd:
    """Does what `launchctl` does. Nothing is touched until a method is called."""

    kind = "launchd"
    log_command = "sploot logs"

    def __init__(self, place: Place) -> None:
        self.place = place
        self._file = Path.home() / "Library" / "LaunchAgents" / f"{agent_label(place)}.plist"
        self._domain = f"gui/{os.getuid()}"
        self._service = f"{self._domain}/{agent_label(place)}"

    def files(self) -> dict[Path, str]:
        """What is to be written where."""
        return {self._file: launchd_agent(self.place)}

    def load(self) -> None:
        """Have it known, there at login, and listening from now on."""
        self._call("bootout", self._service)
        self._do("enable", self._service)
        self._do("bootstrap", self._domain, str(self._file))

    def reload(self) -> None:
        """Load it anew: there is no other way to have a changed file heeded."""
        self.load()

    def unload(self) -> None:
        """End it, and have it forgotten."""
        self._call("bootout", self._service)

    def listen(self) -> bool:
        """Have the socket there, whatever happened before: the next command starts the daemon."""
        self.load()
        return True

    def start(self) -> None:
        """Start the daemon."""
        self._do("kickstart", self._service)

    def is_enabled(self) -> bool:
        return self._call("print", self._service) == 0

    def is_lingering(self) -> bool | None:
        """An agent is there while its user is logged in; there is no other way."""
        return None

    def _do(self, *arguments: str) -> None:
        done = self._run(*arguments)
        if done.returncode != 0:
            raise SplootError(f"launchctl {arguments[0]} failed: {done.stderr.strip() or done.returncode}")

    def _call(self, *arguments: str) -> int:
        return self._run(*arguments).returncode

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(  # noqa: S603 - the system's own program
                ["/bin/launchctl", *arguments], capture_output=True, text=True, timeout=COMMAND_S, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise SplootError(f"launchctl cannot be used: {error}") from error
