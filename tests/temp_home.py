"""An empty home for tests that run the three real programs as processes."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

COMMAND_TIMEOUT_S = 120
POLL_S = 0.2  # between two commands that wait for a state: without a pause, waiting tests take a processor each
PNG = b"\x89PNG\r\n\x1a\n"  # the signature of a PNG file


@dataclass(frozen=True)
class Home:
    """One profile in its own folder. Commands run without any other configuration."""

    folder: Path
    environ: dict[str, str] = field(default_factory=dict)

    @property
    def state(self) -> Path:
        return self.folder / "sploot" / "state"

    @property
    def library(self) -> Path:
        return self.state / "library"

    def variables(self) -> dict[str, str]:
        mine = {"HOME": str(self.folder), "SPLOOT_HOME": str(self.folder / "sploot"), "LANG": "C.UTF-8"}
        return {"PATH": os.environ["PATH"], **mine, **self.environ}

    def command(self, *arguments: str | bytes) -> list[str | bytes]:
        return [sys.executable, "-m", "sploot", *arguments]

    def run(
        self, *arguments: str | bytes, stdin: bytes | None = None, timeout_s: float = COMMAND_TIMEOUT_S
    ) -> subprocess.CompletedProcess[str]:
        """Run `sploot ARGUMENTS` to its end and fail if its output contains a traceback."""
        done = subprocess.run(
            self.command(*arguments),
            env=self.variables(),
            cwd=self.folder,
            input=stdin,
            capture_output=True,
            timeout=timeout_s,
            check=False,
        )
        out, err = (part.decode("utf-8", "surrogateescape") for part in (done.stdout, done.stderr))
        assert "Traceback" not in out + err, err
        return subprocess.CompletedProcess(done.args, done.returncode, out, err)

    def ok(self, *arguments: str | bytes, **options: Any) -> str:
        """Run a command that must succeed and return its output."""
        done = self.run(*arguments, **options)
        assert done.returncode == 0, f"{arguments}: exit {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def json(self, *arguments: str | bytes) -> Any:
        return json.loads(self.ok(*arguments, "--json"))

    def rows(self, *arguments: str | bytes) -> list[dict[str, Any]]:
        """Return the rows of `sploot list`."""
        return [
            json.loads(line) for line in self.ok("list", "--limit", "100000", *arguments, "--json-lines").splitlines()
        ]

    def queue_and_hold(self, count: int) -> None:
        """Pause uploads and queue `count` small files."""
        folder = self.folder / "memes"
        folder.mkdir()
        for number in range(count):
            (folder / f"{number}.png").write_bytes(PNG)
        self.ok("pause")
        self.ok("add", str(folder), "--once")
        while self.json("status")["items"]["total"] < count:
            time.sleep(POLL_S)

    def daemon_pid(self) -> int | None:
        """Return the process id in the lock file if that process is running."""
        try:
            pid = int((self.state / "splootd.lock").read_text().partition("\n")[0])
            os.kill(pid, 0)
        except (FileNotFoundError, ValueError, ProcessLookupError):
            return None
        return pid

    def kill_daemon(self, signal_: signal.Signals = signal.SIGKILL) -> bool:
        pid = self.daemon_pid()
        if pid is None:
            return False
        os.kill(pid, signal_)
        return True

    def log(self) -> str:
        """Return the contents of all log files."""
        return "".join(file.read_text("utf-8", "replace") for file in sorted(self.state.glob("*.log*")))

    def originals(self) -> Sequence[Path]:
        """Return the original files in the local library."""
        return [file for file in (self.library / "blobs").rglob("*") if file.is_file() and len(file.name) == 64]


@contextmanager
def home_in(folder: Path, **environ: str) -> Iterator[Home]:
    """Yield an empty home and stop its daemon at the end."""
    folder.mkdir(parents=True, exist_ok=True)
    home = Home(folder, environ)
    try:
        yield home
    finally:
        home.run("daemon", "stop")
        home.kill_daemon()
