"""One file is moved: never over another, and whatever happens in between it has a name."""

import errno
import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from splootd.work import carry as it
from splootd.work.carry import carry, digest_of, is_at, remove_note, write_note
from splootd.work.files import look


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


def test_a_file_is_known_again_when_its_disk_has_a_new_number(meme: Path) -> None:
    version = look(bytes(meme))
    before = version._replace(device=version.device + 1)
    assert is_at(meme, before)
    assert digest_of(meme, before) == hashlib.sha256(b"bytes").digest()


@pytest.mark.parametrize("has_links", [True, False])
def test_a_file_is_moved_as_it_is(meme: Path, target: Path, has_links: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not has_links:
        monkeypatch.setattr(os, "link", without_links)
    version = look(bytes(meme))
    carry(meme, target)
    assert is_at(target, version)
    assert not os.path.lexists(meme)


@pytest.mark.parametrize("has_links", [True, False])
def test_nothing_is_ever_overwritten(
    meme: Path, target: Path, has_links: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    target.write_bytes(b"other")
    if not has_links:
        monkeypatch.setattr(os, "link", without_links)
    with pytest.raises(FileExistsError):
        carry(meme, target)
    assert target.read_bytes() == b"other"
    assert meme.read_bytes() == b"bytes"


def test_at_every_step_the_file_has_a_name(meme: Path, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    version, seen = look(bytes(meme)), []

    def watching(act: Any) -> Any:
        def acts(*arguments: Any, **options: Any) -> Any:
            seen.append((is_at(meme, version), is_at(target, version)))
            return act(*arguments, **options)

        return acts

    for name in ("link", "fsync"):
        monkeypatch.setattr(os, name, watching(getattr(os, name)))
    carry(meme, target)
    assert all(any(places) for places in seen)
    assert (True, True) in seen  # on the disk under its new name before the old one goes


def test_a_link_to_a_file_is_not_the_file(meme: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.png"
    link.symlink_to(meme)
    assert not is_at(link, look(bytes(meme)))
    with pytest.raises(OSError):
        digest_of(link, look(bytes(meme)))


def test_the_digest_is_of_that_version_only(meme: Path) -> None:
    version = look(bytes(meme))
    assert digest_of(meme, version) == hashlib.sha256(b"bytes").digest()
    os.utime(meme, (1, 1))
    assert digest_of(meme, version) is None


def test_a_file_that_changes_while_it_is_read_has_no_digest(meme: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    version, read = look(bytes(meme)), hashlib.file_digest

    def changing(stream: Any, name: str) -> Any:
        digest = read(stream, name)
        os.utime(meme, (1, 1))
        return digest

    monkeypatch.setattr(it.hashlib, "file_digest", changing)
    assert digest_of(meme, version) is None


def test_a_note_is_never_written_over_and_stays_while_it_tells_of_something(tmp_path: Path, meme: Path) -> None:
    note = tmp_path / "note"
    write_note(note, b"words")
    with pytest.raises(FileExistsError):
        write_note(note, b"others")
    remove_note(note, meme)
    assert os.path.lexists(note)
    remove_note(note, meme.with_suffix(".gone"))
    remove_note(note, meme.with_suffix(".gone"))
    assert not os.path.lexists(note)
