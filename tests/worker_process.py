"""A real worker process, driven by its protocol (`inference/worker_main.py`)."""

import itertools
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sploot_server.inference.worker_pool import ENVIRONMENT

COMMAND = [sys.executable, "-P", "-m", "sploot_server.inference.worker_main"]


class WorkerProcess:
    """A worker that is ready; it is killed at the end of the block."""

    def __init__(self, *arguments: str) -> None:
        self._ids = itertools.count()
        self.process = subprocess.Popen(
            [*COMMAND, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **ENVIRONMENT},
        )
        assert self._next_response() == {"ready": True}

    def ask(self, **request: object) -> dict[str, Any]:
        """Send one request and return its response."""
        return self.ask_all([request])[0]

    def ask_all(self, requests: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Send all requests at once and return their responses, in the order of the requests."""
        assert self.process.stdin is not None
        numbered = [{"id": next(self._ids), **request} for request in requests]
        self.process.stdin.write("".join(json.dumps(each) + "\n" for each in numbered))
        self.process.stdin.flush()
        responses = [self._next_response() for _ in numbered]
        return sorted(responses, key=lambda response: int(response["id"]))

    @property
    def peak_mb(self) -> int:
        """The most memory that was resident so far."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.findall(r"VmHWM:\s+(\d+)", status)[0]) // 1024

    def _next_response(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"the worker ended with {self.process.wait()}"
        response: dict[str, Any] = json.loads(line)
        return response

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.communicate()
