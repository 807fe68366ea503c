"""A real `systemd --user` for tests, isolated in its own mount namespace and control groups.

It needs root and Debian's package `systemd`. `missing_requirement` returns what is missing.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from temp_home import Home

RUNTIME = "/run/user/0"
TIMEOUT_S = 30
# systemd takes over the control groups that it starts in, so the script creates new ones first. It also requires
# /run/systemd/system, which exists on systems booted with systemd, and a runtime directory for its sockets.
SCRIPT = """
set -e
for hierarchy in /sys/fs/cgroup /sys/fs/cgroup/*/; do
    group=$hierarchy/$1
    [ -e "$hierarchy/cgroup.procs" ] && mkdir "$group" 2>/dev/null && echo $$ 2>/dev/null >"$group/cgroup.procs" || true
done
grep -q "$1" /proc/self/cgroup || { echo "no control group can be made" >&2; exit 1; }
mount -t tmpfs tmpfs /run/systemd && mkdir /run/systemd/system
mount -t tmpfs tmpfs /run/user && mkdir -m 700 /run/user/0
exec systemd --user
"""


def missing_requirement() -> str | None:
    """Return why `systemd --user` cannot run here; None if it can."""
    if sys.platform != "linux" or os.getuid() != 0:
        return "a private systemd --user needs root on Linux"
    if not all(shutil.which(program) for program in ("systemd", "systemctl", "unshare", "nsenter")):
        return "systemd is not installed: apt-get install systemd"
    probe = subprocess.run(["unshare", "-m", "--propagation", "private", "true"], capture_output=True, check=False)
    return "mount namespaces are not allowed here" if probe.returncode else None


@dataclass(frozen=True)
class SystemdHome(Home):
    """A home whose commands run in the namespace of a `systemd --user`. It uses the XDG directories below HOME."""

    pid: int = 0

    @property
    def state(self) -> Path:
        return self.folder / ".local" / "state" / "sploot"

    @property
    def units(self) -> Path:
        return self.folder / ".config" / "systemd" / "user"

    def variables(self) -> dict[str, str]:
        home = {"HOME": str(self.folder), "XDG_RUNTIME_DIR": RUNTIME, "LANG": "C.UTF-8"}
        return {"PATH": os.environ["PATH"], **home, **self.environ}

    def inside(self, *command: str | bytes) -> list[str | bytes]:
        return ["nsenter", "-t", str(self.pid), "-m", f"--wd={self.folder}", *command]

    def command(self, *arguments: str | bytes) -> list[str | bytes]:
        return self.inside(*super().command(*arguments))

    def systemctl(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.inside("systemctl", "--user", *arguments),
            env=self.variables(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def wait_for_manager(self) -> None:
        """Wait until the manager responds. `systemctl --wait` fails while the manager does not listen yet."""
        deadline = time.monotonic() + TIMEOUT_S
        while self.systemctl("is-system-running").stdout.strip() not in ("running", "degraded"):
            assert time.monotonic() < deadline, (self.folder / "systemd.err").read_text()

    def wait_for_state(self, unit: str, state: str) -> None:
        """Wait until `unit` is active, inactive, failed, ..."""
        deadline = time.monotonic() + TIMEOUT_S
        while (current := self.get_property(unit, "ActiveState")) != state:
            assert time.monotonic() < deadline, f"{unit} is {current}, not {state}"

    def get_property(self, unit: str, name: str) -> str:
        """Return one property of a unit."""
        return self.systemctl("show", "--value", "-p", name, unit).stdout.strip()


@contextlib.contextmanager
def user_systemd(folder: Path, **environ: str) -> Iterator[SystemdHome]:
    """Run `systemd --user` for a home in `folder`; kill it and everything it started afterwards."""
    folder.mkdir(parents=True, exist_ok=True)
    group = f"sploot-test-{os.getpid()}-{os.urandom(4).hex()}"
    variables = {**SystemdHome(folder, environ).variables()}
    process = subprocess.Popen(
        ["unshare", "-m", "--propagation", "private", "sh", "-c", SCRIPT, "sh", group],
        env=variables,
        stdout=subprocess.DEVNULL,
        stderr=(log := (folder / "systemd.err").open("wb")),
    )
    home = SystemdHome(folder, environ, pid=process.pid)
    try:
        home.wait_for_manager()
        yield home
    finally:
        home.systemctl("stop", "splootd*.socket", "splootd*.service")
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(TIMEOUT_S)
        process.kill()
        process.wait()
        log.close()
        _remove_groups(group)


def _remove_groups(group: str) -> None:
    """Kill the remaining processes of the control groups, and remove the groups."""
    for top in Path("/sys/fs/cgroup").glob(f"**/{group}"):
        folders = [top, *(folder for folder in top.rglob("*") if folder.is_dir())]
        for folder in folders:
            for pid in (folder / "cgroup.procs").read_text().split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
        for folder in reversed(folders):
            with contextlib.suppress(OSError):
                folder.rmdir()
