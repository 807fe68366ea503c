"""Uploads are suspended on metered networks, as NetworkManager reports them."""

import os
from pathlib import Path

import pytest
from pipeline_fixtures import open_pipeline

from splootd.core.item import State
from splootd.system import metered
from splootd.system.metered import METERED_NETWORK, MeteredMonitor, parse_metered


def program(folder: Path, name: str, script: str) -> None:
    """Write an executable shell script."""
    file = folder / name
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)


@pytest.fixture
def bin_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is first in PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


@pytest.mark.parametrize(
    ("output", "is_metered"),
    [
        (b'{"type":"u","data":1}', True),
        (b'{"type":"u","data":3}', True),
        (b'{"type":"u","data":0}', False),
        (b'{"type":"u","data":2}', False),
        (b'{"type":"u","data":4}', False),
        (b"", False),
        (b"[]", False),
        (b'{"data":[1]}', False),
        (b"\xff", False),
    ],
)
def test_the_output_of_busctl_is_parsed(output: bytes, is_metered: bool):
    assert parse_metered(output) is is_metered


async def test_the_metered_property_of_networkmanager_is_queried(bin_folder: Path):
    program(bin_folder, "busctl", 'test "$8" = Metered && echo \'{"type":"u","data":1}\'')
    assert await metered.is_metered()


@pytest.mark.parametrize("script", ["exit 1", "echo nonsense", "exec yes"])
async def test_without_a_valid_reply_the_network_is_not_metered(bin_folder: Path, script: str):
    program(bin_folder, "busctl", script)
    assert not await metered.is_metered()


async def test_a_query_that_has_ended_is_not_killed(bin_folder: Path, caplog: pytest.LogCaptureFixture):
    """Killing it would reap it before asyncio does, which logs "Unknown child process"."""
    program(bin_folder, "busctl", "echo '{\"data\":1}'")
    for _ in range(20):
        assert await metered.is_metered()
    assert not [each for each in caplog.records if each.name == "asyncio" and each.levelname == "WARNING"]


async def test_a_query_that_hangs_times_out(bin_folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(metered, "REPLY_TIMEOUT_S", 0.05)
    program(bin_folder, "busctl", "exec tail -f /dev/null")
    assert not await metered.is_metered()


async def test_without_busctl_the_network_is_not_metered(bin_folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", os.fspath(bin_folder))
    assert not await metered.is_metered()


async def test_a_metered_network_suspends_uploads_until_it_changes(tmp_path: Path, bin_folder: Path):
    async with open_pipeline(tmp_path) as pipeline:
        program(bin_folder, "busctl", "echo '{\"data\":1}'")
        worker = MeteredMonitor(pipeline.store.read_queries, pipeline.store.wake_signals, pipeline.admission)
        await worker.run_once()
        assert (pipeline.admission.suspend_reason, pipeline.admission.detail) == (
            METERED_NETWORK,
            f"uploads are suspended: {METERED_NETWORK}",
        )
        await pipeline.add("a.jpg")
        pipeline.start()
        assert (await pipeline.until(lambda counts: counts[State.PENDING] == 1))[State.UPLOADING] == 0
        program(bin_folder, "busctl", "echo '{\"data\":2}'")
        await worker.run_once()
        assert pipeline.admission.detail is None
        await pipeline.until_through()
