"""Real Redis on a Unix socket, as a process that can be killed and restarted."""

import shutil
import subprocess
from pathlib import Path

import pytest


class RedisServer:
    """Redis process without persistence; `url` stays the same across restarts."""

    def __init__(self, folder: Path) -> None:
        program = shutil.which("redis-server")
        if program is None:
            pytest.skip("Redis is missing; run `apt-get install redis-server`")
        self._socket = folder / "redis.sock"
        self._command = [program, *("--port", "0"), *("--unixsocket", str(self._socket)), *("--save", "")]
        self.url = f"unix://{self._socket}"
        self.start()

    def start(self) -> None:
        self._socket.unlink(missing_ok=True)
        self.process = subprocess.Popen(self._command, stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if b"ready to accept connections" in line:
                return
        pytest.fail("Redis did not start")

    def kill(self) -> None:
        """Kill the process; may be called again."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()
