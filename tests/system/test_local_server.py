"""The local server as a process with lower priority."""

import asyncio
import os
from pathlib import Path

import pytest

from splootd.system import local_server


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
