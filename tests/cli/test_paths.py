"""Paths are resolved in the caller's working directory."""

import os
from pathlib import Path

import pytest
from sploot.path_list import PATH_BYTES_MAX, read_paths
from sploot.paths import absolute, parse_target

from splootd.errors import RequestError


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/ann")
    return tmp_path


def test_relative_and_home_paths_become_absolute(here: Path):
    assert absolute("a/b.png") == f"{here}/a/b.png"
    assert absolute("~/memes") == "/home/ann/memes"
    assert absolute("/x") == "/x"
    assert absolute("~nobody-of-that-name") == f"{here}/~nobody-of-that-name"


def test_links_are_left_for_the_daemon(here: Path):
    (here / "link").symlink_to("/elsewhere")
    assert absolute("link/../a.png") == f"{here}/link/../a.png"


def test_a_name_that_is_not_utf8_survives(here: Path):
    assert os.fsencode(absolute(os.fsdecode(b"caf\xe9.png"))).endswith(b"/caf\xe9.png")


def test_digits_are_an_id_unless_there_is_such_a_file(here: Path):
    assert parse_target("17") == "17"
    (here / "17").touch()
    assert parse_target("17") == f"{here}/17"


@pytest.mark.parametrize(("by_null", "end"), [(False, b"\n"), (True, b"\0")])
def test_a_list_may_or_may_not_end_with_a_separator(here: Path, by_null: bool, end: bytes):
    names = [b"/a b.png", b"/caf\xe9.png", b"rel.png"]
    for closing in (b"", end):
        Path("list").write_bytes(end.join(names) + closing)
        found = list(read_paths("list", by_null=by_null))
        assert [os.fsencode(name) for name in found] == [b"/a b.png", b"/caf\xe9.png", os.fsencode(here / "rel.png")]


def test_a_newline_in_a_name_survives_between_nuls():
    Path("list").write_bytes(b"/a\nb.png\0")
    assert list(read_paths("list", by_null=True)) == ["/a\nb.png"]


def test_a_list_is_read_lazily():
    read, write = os.pipe()
    os.write(write, b"/a\n/b\n")
    paths = read_paths(f"/dev/fd/{read}", by_null=False)
    assert next(paths) == "/a"
    paths.close()
    os.close(read)
    os.close(write)


def test_an_endless_line_is_rejected():
    Path("list").write_bytes(b"x" * (3 * PATH_BYTES_MAX))
    with pytest.raises(RequestError, match="longer than"):
        list(read_paths("list", by_null=False))


def test_a_missing_list_is_reported():
    with pytest.raises(RequestError, match="nowhere cannot be read: No such file"):
        list(read_paths("nowhere", by_null=False))
