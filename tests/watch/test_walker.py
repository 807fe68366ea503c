import os
from pathlib import Path

import pytest
from sample_files import odd
from watch_fixtures import LONG_AGO_S, PNG, put

from splootd.core.item import FoundFile
from splootd.watch.ignore import IgnoreRules
from splootd.watch.mounts import NETWORK_FILESYSTEMS, filesystem_type, find_network_folders, parse_mounts
from splootd.watch.walker import Walker, find_changed_folders, is_still_there

NOW = 2_000_000_000.0


def new_walker(root: Path, **options: object) -> Walker:
    path = os.fsencode(root)
    return Walker([path], rules=IgnoreRules(path), now=NOW, **options)  # type: ignore[arg-type]  # options of Walker


def everything(walker: Walker) -> list[FoundFile]:
    found: list[FoundFile] = []
    while not walker.is_done:
        found += walker.next_files(1_000, 10.0)
    return found


def names(walker: Walker) -> set[bytes]:
    return {each.path.rpartition(b"/")[2] for each in everything(walker)}


def test_only_possible_images_are_found_and_nothing_blocks_the_walk(tmp_path: Path) -> None:
    odd(tmp_path)
    assert names(new_walker(tmp_path)) - {b"unreadable.jpg"} == {
        *(b"empty.png", b"text.png", b"truncated.jpg", b"over-limit.jpg", b"two\nlines.jpg", b"caf\xe9.jpg"),
        *(b"stub.heic", b"stub.avif", b"stub.mp4"),
    }


def test_a_file_without_a_media_suffix_is_found_by_its_first_bytes(tmp_path: Path) -> None:
    put(tmp_path / "picture")
    put(tmp_path / "picture.dat")
    put(tmp_path / "text.dat", b"text")
    put(tmp_path / "nothing.dat", b"")
    assert names(new_walker(tmp_path)) == {b"picture", b"picture.dat"}


def test_an_empty_file_that_reserves_the_name_for_a_download_is_not_found(tmp_path: Path) -> None:
    put(tmp_path / "x.png", b"")
    put(tmp_path / "x.png.part")
    put(tmp_path / "y.png", b"")
    assert names(new_walker(tmp_path)) == {b"y.png"}


def test_a_walk_is_lazy(tmp_path: Path) -> None:
    for folder in range(10):
        (tmp_path / str(folder)).mkdir()
        for file in range(10):
            put(tmp_path / str(folder) / f"{file}.png")
    walker = new_walker(tmp_path)
    assert len(walker.next_files(3, 10.0)) == 3
    assert len(walker.folders) == 2  # the root and the first of the ten
    assert not walker.is_done
    assert len(everything(walker)) == 97


def test_a_walk_keeps_at_most_one_folder_open(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*("d" * 50))
    deep.mkdir(parents=True)
    put(deep / "x.png")
    before = len(list(Path("/dev/fd").iterdir()))
    walker = new_walker(tmp_path)
    assert len(walker.next_files(1, 10.0)) == 1
    assert len(list(Path("/dev/fd").iterdir())) <= before + 1
    everything(walker)


def test_a_walk_keeps_its_time_limit(tmp_path: Path) -> None:
    for number in range(10):
        put(tmp_path / f"{number}.txt", b"text")
    walker = new_walker(tmp_path)
    assert walker.next_files(500, 0.0) == []
    assert not walker.is_done


@pytest.mark.usefixtures("ordinary_permissions")
def test_a_folder_without_permission_is_reported_and_delays_nothing(tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0)
    put(tmp_path / "x.png")
    walker = new_walker(tmp_path)
    assert names(walker) == {b"x.png"}
    (tmp_path / "locked").chmod(0o700)
    assert walker.unreadable == 1
    assert walker.error_messages == [f"cannot read {tmp_path}/locked: Permission denied"]


def test_a_folder_that_fails_is_reported_and_delays_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scandir = os.scandir

    def failing(path: bytes) -> object:
        if path.endswith(b"broken"):
            raise OSError(5, "Input/output error")
        return scandir(path)

    (tmp_path / "broken").mkdir()
    (tmp_path / "whole").mkdir()
    put(tmp_path / "whole" / "x.png")
    monkeypatch.setattr(os, "scandir", failing)
    walker = new_walker(tmp_path)
    assert names(walker) == {b"x.png"}
    assert walker.error_messages == [f"cannot read {tmp_path}/broken: Input/output error"]
    assert os.fsencode(tmp_path / "broken") not in walker.folders


def test_links_are_not_followed_and_links_to_folders_are_noted(tmp_path: Path) -> None:
    (tmp_path / "memes").mkdir()
    put(tmp_path / "x.png")
    (tmp_path / "memes" / "file.png").symlink_to(tmp_path / "x.png")
    walker = new_walker(tmp_path / "memes")
    assert names(walker) == set()
    assert not walker.has_folder_symlinks
    (tmp_path / "memes" / "folder").symlink_to(tmp_path)
    walker = new_walker(tmp_path / "memes")
    assert names(walker) == set()
    assert walker.has_folder_symlinks


def test_a_folder_deleted_during_the_walk_is_no_error(tmp_path: Path) -> None:
    walker = new_walker(tmp_path / "none")
    assert everything(walker) == []
    assert walker.unreadable == 0


def test_a_change_of_names_shows_in_the_times_of_the_folders(tmp_path: Path) -> None:
    for name in ("same", "more", "fewer", "missing"):
        (tmp_path / name).mkdir()
        put(tmp_path / name / "x.png")
        os.utime(tmp_path / name, (LONG_AGO_S, LONG_AGO_S))
    os.utime(tmp_path, (LONG_AGO_S, LONG_AGO_S))
    walker = new_walker(tmp_path)
    everything(walker)
    assert find_changed_folders(walker.folders, os.fsencode(tmp_path)) == ([], [])
    put(tmp_path / "more" / "y.png")
    (tmp_path / "fewer" / "x.png").unlink()
    (tmp_path / "missing").rename(tmp_path.parent / "elsewhere")
    changed, missing = find_changed_folders(walker.folders, os.fsencode(tmp_path))
    assert set(changed) == {os.fsencode(path) for path in (tmp_path, tmp_path / "more", tmp_path / "fewer")}
    assert missing == [os.fsencode(tmp_path / "missing")]


def test_a_folder_that_has_just_changed_is_scanned_again(tmp_path: Path) -> None:
    """Its time does not show another change within the same clock tick."""
    os.utime(tmp_path, (NOW - 1, NOW - 1))
    walker = new_walker(tmp_path)
    everything(walker)
    assert find_changed_folders(walker.folders, os.fsencode(tmp_path)) == ([os.fsencode(tmp_path)], [])


def test_a_hard_link_is_still_there_and_a_moved_file_is_not(tmp_path: Path) -> None:
    put(tmp_path / "a.png")
    (found,) = everything(new_walker(tmp_path))
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
def test_the_innermost_and_latest_mount_determines_the_type_of_file_system(folder: bytes, kind: str) -> None:
    assert filesystem_type(folder, parse_mounts(MOUNTS)) == kind


def test_only_network_file_systems_below_the_root_leave_folders_without_events() -> None:
    folders = [b"/mnt", b"/mnt/my share", b"/mnt/my share/memes", b"/mnt/my share/local", b"/mnt/ssh"]
    mounts = parse_mounts(MOUNTS)
    assert find_network_folders(folders, b"/mnt", mounts) == {b"/mnt/my share", b"/mnt/my share/memes"}
    assert find_network_folders(folders, b"/mnt/my share", mounts) == set()  # `is_network_filesystem` names the root


def test_folders_shared_by_hosts_and_clusters_count_as_network_file_systems() -> None:
    assert {"virtiofs", "fuse", "prl_fs", "beegfs", "gpfs", "vboxsf", "9p"} <= NETWORK_FILESYSTEMS


def test_the_type_of_file_system_is_unknown_without_a_table() -> None:
    assert filesystem_type(b"/home", {}) == ""
