"""Small files are read whole, whether they are in the page cache or not."""

import os
from pathlib import Path

import pytest
from sploot_server.library import cached_read
from sploot_server.library.cached_read import read_file

DATA = b"thumbnail" * 2_000


async def test_a_cached_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(DATA)
    (tmp_path / "empty").touch()
    assert (await read_file(tmp_path / "a"), await read_file(tmp_path / "empty")) == (DATA, b"")


@pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="this system cannot drop a cached file")
async def test_a_file_on_the_disk_is_read(tmp_path: Path) -> None:
    with (tmp_path / "a").open("wb") as file:
        file.write(DATA)
        file.flush()
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    assert await read_file(tmp_path / "a") == DATA


async def test_a_system_that_cannot_tell_what_is_cached_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cached_read, "NOWAIT", None)
    (tmp_path / "a").write_bytes(DATA)
    assert await read_file(tmp_path / "a") == DATA


async def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await read_file(tmp_path / "a")
