"""A file is moved without overwriting another, and has a name at every step."""

import errno
import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from splootd.file_reader import stat_version
from splootd.post_upload import safe_move
from splootd.post_upload.safe_move import hash_file, is_version_at, move_file, remove_info_file, write_info_file


@pytest.fixture
def meme(tmp_path: Path) -> Path:
    path = tmp_path / "a b\n.png"
    path.write_bytes(b"bytes")
    (tmp_path / "to").mkdir()
    return path


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "to" / os.fsdecode(b"\xff.png")


def without_links(*_: Any, **__: Any) -> None:
    raise OSError(errno.EPERM, "Operation not permitted")


def test_a_file_is_recognised_when_its_disk_has_a_new_device_number(meme: Path) -> None:
    version = stat_version(bytes(meme))
    before = version._replace(device=version.device + 1)
    assert is_version_at(meme, before)
    assert hash_file(meme, before) == hashlib.sha256(b"bytes").digest()


@pytest.mark.parametrize("has_links", [True, False])
def test_a_file_is_moved_as_it_is(meme: Path, target: Path, has_links: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not has_links:
        monkeypatch.setattr(os, "link", without_links)
    version = stat_version(bytes(meme))
    move_file(meme, target)
    assert is_version_at(target, version)
    assert not os.path.lexists(meme)


@pytest.mark.parametrize("has_links", [True, False])
def test_nothing_is_ever_overwritten(
    meme: Path, target: Path, has_links: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    target.write_bytes(b"other")
    if not has_links:
        monkeypatch.setattr(os, "link", without_links)
    with pytest.raises(FileExistsError):
        move_file(meme, target)
    assert target.read_bytes() == b"other"
    assert meme.read_bytes() == b"bytes"


def test_at_every_step_the_file_has_a_name(meme: Path, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    version, steps = stat_version(bytes(meme)), []

    def recording(function: Any) -> Any:
        def record(*arguments: Any, **options: Any) -> Any:
            steps.append((is_version_at(meme, version), is_version_at(target, version)))
            return function(*arguments, **options)

        return record

    for name in ("link", "fsync"):
        monkeypatch.setattr(os, name, recording(getattr(os, name)))
    move_file(meme, target)
    assert all(any(places) for places in steps)
    assert (True, True) in steps  # the new name is on disk before the old one is removed


def test_a_symlink_to_a_file_is_not_the_file(meme: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.png"
    link.symlink_to(meme)
    assert not is_version_at(link, stat_version(bytes(meme)))
    with pytest.raises(OSError):
        hash_file(link, stat_version(bytes(meme)))


def test_the_digest_is_of_that_version_only(meme: Path) -> None:
    version = stat_version(bytes(meme))
    assert hash_file(meme, version) == hashlib.sha256(b"bytes").digest()
    os.utime(meme, (1, 1))
    assert hash_file(meme, version) is None


def test_a_file_that_changes_while_it_is_read_has_no_digest(meme: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    version, file_digest = stat_version(bytes(meme)), hashlib.file_digest

    def changing(stream: Any, name: str) -> Any:
        digest = file_digest(stream, name)
        os.utime(meme, (1, 1))
        return digest

    monkeypatch.setattr(safe_move.hashlib, "file_digest", changing)
    assert hash_file(meme, version) is None


def test_an_info_file_is_not_overwritten_and_stays_while_its_target_exists(tmp_path: Path, meme: Path) -> None:
    info_path = tmp_path / "info"
    write_info_file(info_path, b"content")
    with pytest.raises(FileExistsError):
        write_info_file(info_path, b"other")
    remove_info_file(info_path, meme)
    assert os.path.lexists(info_path)
    remove_info_file(info_path, meme.with_suffix(".missing"))
    remove_info_file(info_path, meme.with_suffix(".missing"))
    assert not os.path.lexists(info_path)
