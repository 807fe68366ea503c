"""The embedded library as a process among others."""

import asyncio
import os
from pathlib import Path

import pytest

from splootd.work import embedded


def said(autogroup: Path) -> str:
    return autogroup.read_text() if autogroup.exists() else f"nice {embedded.NICENESS}\n"


async def test_a_niceness_that_linux_does_not_take_yet_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    refused, write = 2, Path.write_text

    def busy(file: Path, text: str) -> int:
        nonlocal refused
        if refused:
            refused -= 1
            raise BlockingIOError
        return write(file, text)

    monkeypatch.setattr(embedded, "NICE_PAUSE_S", 0)
    monkeypatch.setattr(Path, "write_text", busy)
    child = await asyncio.create_subprocess_exec("sleep", "60", start_new_session=True)
    try:
        await embedded.step_back(child.pid)
        assert not refused
        assert os.getpriority(os.PRIO_PROCESS, child.pid) == os.getpriority(os.PRIO_PROCESS, 0) + embedded.NICENESS
        assert said(Path(f"/proc/{child.pid}/autogroup")).endswith(f"nice {embedded.NICENESS}\n")
    finally:
        child.kill()
        await child.wait()
