"""The local server as a process with lower priority."""

import asyncio
import os
from pathlib import Path

import pytest

from splootd.clock import Clock
from splootd.config import Config, Paths
from splootd.credentials import Credentials
from splootd.system import local_server
from splootd.upload.admission import AdmissionController


def read_autogroup(autogroup: Path) -> str:
    return autogroup.read_text() if autogroup.exists() else f"nice {local_server.NICENESS}\n"


async def test_setting_the_autogroup_is_retried_while_the_kernel_rejects_it(monkeypatch: pytest.MonkeyPatch) -> None:
    rejections, write_text = 2, Path.write_text

    def rejecting(file: Path, text: str) -> int:
        nonlocal rejections
        if rejections:
            rejections -= 1
            raise BlockingIOError
        return write_text(file, text)

    monkeypatch.setattr(local_server, "AUTOGROUP_RETRY_DELAY_S", 0)
    monkeypatch.setattr(Path, "write_text", rejecting)
    child = await asyncio.create_subprocess_exec("sleep", "60", start_new_session=True)
    try:
        await local_server.lower_priority(child.pid)
        assert not rejections
        assert os.getpriority(os.PRIO_PROCESS, child.pid) == os.getpriority(os.PRIO_PROCESS, 0) + local_server.NICENESS
        assert read_autogroup(Path(f"/proc/{child.pid}/autogroup")).endswith(f"nice {local_server.NICENESS}\n")
    finally:
        child.kill()
        await child.wait()


SCRIPT = """
import os, sys
fd = int(sys.argv[sys.argv.index("--ready-fd") + 1])
os.write(fd, b"unix:/library.sock\\nreading 120 3000\\n")
sys.stdin.read()
"""


async def test_what_a_new_model_has_read_is_known_until_the_server_ends(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(local_server, "PROGRAM", ("-c", SCRIPT))
    paths = Paths(tmp_path / "config.toml", tmp_path / "state", tmp_path / "run")
    paths.create()
    clock = Clock()
    admission = AdmissionController(clock, Credentials(paths.token_file, clock))
    server = local_server.LocalServer(paths, admission, Config())
    assert server.activity() is None
    running = asyncio.create_task(server.run_once())
    while server.activity() is None:  # noqa: ASYNC110 - the test times out
        await asyncio.sleep(0)
    assert server.activity() == "reads the library with another model, 120 of 3,000"
    await server.close()
    await running
    assert server.activity() is None
