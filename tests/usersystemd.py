"""A real `systemd --user` for tests, in a mount namespace and control groups of its own, so that nobody else sees it.

It needs root and Debian's package `systemd`. Where it cannot be had, `missing` says why.
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

from homes import Home

RUNTIME = "/run/user/0"
START_S = 30
# systemd takes over the control groups it finds itself in: it is given some of its own first. It wants to see a system
# that was booted with systemd, and a folder for its sockets.
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


def missing() -> str | None:
    """Why there can be no `systemd --user` here; None when there can be."""
    if sys.platform != "linux" or os.getuid() != 0:
        return "a private systemd --user needs root on Linux"
    if not all(shutil.which(program) for program in ("systemd", "systemctl", "unshare", "nsenter")):
        return "systemd is not installed: apt-get install systemd"
    done = subprocess.run(["unshare", "-m", "--propagation", "private", "true"], capture_output=True, check=False)
    return "mount namespaces are not allowed here" if done.returncode else None


@dataclass(frozen=True)
class SystemdHome(Home):
    """A home whose commands run where a `systemd --user` is at work. It has the places that a user's home has."""

    pid: int = 0

    @property
    def state(self) -> Path:
        return self.folder / ".local" / "state" / "sploot"

    @property
    def units(self) -> Path:
        return self.folder / ".config" / "systemd" / "user"

    def variables(self) -> dict[str, str]:
        mine = {"HOME": str(self.folder), "XDG_RUNTIME_DIR": RUNTIME, "LANG": "C.UTF-8"}
        return {"PATH": os.environ["PATH"], **mine, **self.environ}

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

    def await_manager(self) -> None:
        """Return when it answers. `systemctl` has no way to wait for a manager that does not listen yet."""
        ends_at = time.monotonic() + START_S
        while self.systemctl("is-system-running").stdout.strip() not in ("running", "degraded"):
            assert time.monotonic() < ends_at, (self.folder / "systemd.err").read_text()

    def await_state(self, unit: str, state: str) -> None:
        """Return when `unit` is active, inactive, failed, ..."""
        ends_at = time.monotonic() + START_S
        while (now := self.shown(unit, "ActiveState")) != state:
            assert time.monotonic() < ends_at, f"{unit} is {now}, not {state}"

    def shown(self, unit: str, name: str) -> str:
        """One property of a unit."""
        return self.systemctl("show", "--value", "-p", name, unit).stdout.strip()


@contextlib.contextmanager
def user_systemd(folder: Path, **environ: str) -> Iterator[SystemdHome]:
    """A `systemd --user` for a home in `folder`; it, and all that it started, is gone afterwards."""
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
        home.await_manager()
        yield home
    finally:
        home.systemctl("stop", "splootd*.socket", "splootd*.service")
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(START_S)
        process.kill()
        process.wait()
        log.close()
        _leave(group)


def _leave(group: str) -> None:
    """End what is left in the control groups, and take them away."""
    for top in Path("/sys/fs/cgroup").glob(f"**/{group}"):
        folders = [top, *(folder for folder in top.rglob("*") if folder.is_dir())]
        for folder in folders:
            for pid in (folder / "cgroup.procs").read_text().split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
        for folder in reversed(folders):
            with contextlib.suppress(OSError):
                folder.rmdir()
