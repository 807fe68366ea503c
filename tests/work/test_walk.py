import os
from pathlib import Path

import pytest
from specimens import odd
from watchkit import LONG_AGO_S, PNG, put

from splootd.work.ignore import Rules
from splootd.work.kernel import kind_of
from splootd.work.walk import Found, Walk, changed, is_still_there

NOW = 2_000_000_000.0


def walk_of(root: Path, **options: object) -> Walk:
    path = os.fsencode(root)
    return Walk([path], rules=Rules(path), now=NOW, **options)  # type: ignore[arg-type]  # options of Walk


def everything(walk: Walk) -> list[Found]:
    found: list[Found] = []
    while not walk.is_done:
        found += walk.take(1_000, 10.0)
    return found


def names(walk: Walk) -> set[bytes]:
    return {each.path.rpartition(b"/")[2] for each in everything(walk)}


def test_only_what_may_be_an_image_is_found_and_nothing_holds_the_walk_up(tmp_path: Path) -> None:
    odd(tmp_path)
    assert names(walk_of(tmp_path)) - {b"unreadable.jpg"} == {
        *(b"empty.png", b"text.png", b"truncated.jpg", b"over-limit.jpg", b"two\nlines.jpg", b"caf\xe9.jpg"),
        *(b"stub.heic", b"stub.avif", b"stub.mp4"),
    }


def test_a_file_without_a_telling_name_is_found_by_its_first_bytes(tmp_path: Path) -> None:
    put(tmp_path / "picture")
    put(tmp_path / "picture.dat")
    put(tmp_path / "text.dat", b"text")
    put(tmp_path / "nothing.dat", b"")
    assert names(walk_of(tmp_path)) == {b"picture", b"picture.dat"}


def test_an_empty_file_that_holds_the_name_for_a_download_is_not_found(tmp_path: Path) -> None:
    put(tmp_path / "x.png", b"")
    put(tmp_path / "x.png.part")
    put(tmp_path / "y.png", b"")
    assert names(walk_of(tmp_path)) == {b"y.png"}


def test_a_walk_is_lazy(tmp_path: Path) -> None:
    for folder in range(10):
        (tmp_path / str(folder)).mkdir()
        for file in range(10):
            put(tmp_path / str(folder) / f"{file}.png")
    walk = walk_of(tmp_path)
    assert len(walk.take(3, 10.0)) == 3
    assert len(walk.folders) == 2  # the root and the first of the ten
    assert not walk.is_done
    assert len(everything(walk)) == 97


def test_a_walk_keeps_at_most_one_folder_open(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*("d" * 50))
    deep.mkdir(parents=True)
    put(deep / "x.png")
    before = len(list(Path("/dev/fd").iterdir()))
    walk = walk_of(tmp_path)
    assert len(walk.take(1, 10.0)) == 1
    assert len(list(Path("/dev/fd").iterdir())) <= before + 1
    everything(walk)


def test_a_walk_gives_back_control_in_time(tmp_path: Path) -> None:
    for number in range(10):
        put(tmp_path / f"{number}.txt", b"text")
    walk = walk_of(tmp_path)
    assert walk.take(500, 0.0) == []
    assert not walk.is_done


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_without_permission_is_told_and_delays_nothing(tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0)
    put(tmp_path / "x.png")
    walk = walk_of(tmp_path)
    assert names(walk) == {b"x.png"}
    (tmp_path / "locked").chmod(0o700)
    assert walk.unreadable == 1
    assert walk.sentences == [f"{tmp_path}/locked cannot be read: Permission denied"]


def test_a_folder_that_fails_is_told_and_delays_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scandir = os.scandir

    def failing(path: bytes) -> object:
        if path.endswith(b"broken"):
            raise OSError(5, "Input/output error")
        return scandir(path)

    (tmp_path / "broken").mkdir()
    (tmp_path / "whole").mkdir()
    put(tmp_path / "whole" / "x.png")
    monkeypatch.setattr(os, "scandir", failing)
    walk = walk_of(tmp_path)
    assert names(walk) == {b"x.png"}
    assert walk.sentences == [f"{tmp_path}/broken cannot be read: Input/output error"]
    assert os.fsencode(tmp_path / "broken") not in walk.folders


def test_links_are_not_followed_and_links_to_folders_are_noted(tmp_path: Path) -> None:
    (tmp_path / "memes").mkdir()
    put(tmp_path / "x.png")
    (tmp_path / "memes" / "file.png").symlink_to(tmp_path / "x.png")
    walk = walk_of(tmp_path / "memes")
    assert names(walk) == set()
    assert not walk.has_folder_links
    (tmp_path / "memes" / "folder").symlink_to(tmp_path)
    walk = walk_of(tmp_path / "memes")
    assert names(walk) == set()
    assert walk.has_folder_links


def test_a_folder_that_vanishes_on_the_way_is_no_trouble(tmp_path: Path) -> None:
    walk = walk_of(tmp_path / "none")
    assert everything(walk) == []
    assert walk.unreadable == 0


def test_a_change_of_names_shows_in_the_times_of_the_folders(tmp_path: Path) -> None:
    for name in ("same", "more", "fewer", "gone"):
        (tmp_path / name).mkdir()
        put(tmp_path / name / "x.png")
        os.utime(tmp_path / name, (LONG_AGO_S, LONG_AGO_S))
    os.utime(tmp_path, (LONG_AGO_S, LONG_AGO_S))
    walk = walk_of(tmp_path)
    everything(walk)
    assert changed(walk.folders) == ([], [])
    put(tmp_path / "more" / "y.png")
    (tmp_path / "fewer" / "x.png").unlink()
    (tmp_path / "gone").rename(tmp_path.parent / "elsewhere")
    altered, vanished = changed(walk.folders)
    assert set(altered) == {os.fsencode(path) for path in (tmp_path, tmp_path / "more", tmp_path / "fewer")}
    assert vanished == [os.fsencode(tmp_path / "gone")]


def test_a_folder_that_has_just_changed_is_looked_at_again(tmp_path: Path) -> None:
    """Its time is too coarse to show a change within the same tick."""
    os.utime(tmp_path, (NOW - 1, NOW - 1))
    walk = walk_of(tmp_path)
    everything(walk)
    assert changed(walk.folders) == ([os.fsencode(tmp_path)], [])


def test_a_hard_link_is_still_there_and_a_moved_file_is_not(tmp_path: Path) -> None:
    put(tmp_path / "a.png")
    (found,) = everything(walk_of(tmp_path))
    assert is_still_there(found.path, found.version)
    put(tmp_path / "a.png", PNG + b"more")
    assert not is_still_there(found.path, found.version)
    (tmp_path / "a.png").unlink()
    assert not is_still_there(found.path, found.version)


MOUNTS = rb"""21 1 253:0 / / rw,relatime shared:1 - ext4 /dev/vda1 rw
30 21 0:30 / /mnt/my\040share rw,relatime shared:2 master:1 - cifs //server/share rw
31 30 0:31 / /mnt/my\040share/local rw - tmpfs tmpfs rw
32 21 0:32 / /mnt/ssh rw - fuse.sshfs host:/ rw
33 32 0:33 / /mnt/ssh rw - xfs /dev/vdb rw
broken line
"""


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        (b"/home/memes", "ext4"),
        (b"/mnt/my share", "cifs"),
        (b"/mnt/my share/memes", "cifs"),
        (b"/mnt/my shares", "ext4"),
        (b"/mnt/my share/local/memes", "tmpfs"),
        (b"/mnt/ssh/memes", "xfs"),
    ],
)
def test_the_innermost_and_latest_mount_says_the_kind_of_file_system(folder: bytes, kind: str) -> None:
    assert kind_of(folder, MOUNTS) == kind


def test_nothing_is_concluded_from_an_empty_table() -> None:
    assert kind_of(b"/home", b"") == ""
