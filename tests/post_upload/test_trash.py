"""The desktop's trash: any file manager can restore the files in it."""

import configparser
import os
import stat
from datetime import datetime
from pathlib import Path
from urllib.parse import unquote_to_bytes

import pytest

from splootd.post_upload import trash as trash_module
from splootd.post_upload.trash import Trash, find_free_path, numbered_names

NOW = 1_700_000_000.0


def linux(home: Path, **environ: str) -> Trash:
    return Trash({"HOME": str(home), **environ}, platform="linux")


def read(content: bytes) -> dict[str, str]:
    parser = configparser.RawConfigParser()
    parser.optionxform = str  # type: ignore[assignment, method-assign]  # as configparser documents it
    parser.read_string(content.decode())
    return dict(parser["Trash Info"])


@pytest.fixture
def disks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the device number of another disk."""

    def device(path: Path) -> int:
        path.lstat()
        return 2 if path.is_relative_to(tmp_path / "disk") else 1

    monkeypatch.setattr(trash_module, "_device", device)
    (tmp_path / "disk" / "memes").mkdir(parents=True)
    return tmp_path / "disk"


def test_the_info_file_in_the_home_trash_has_the_original_path_and_the_time(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"100% \xc3\xa4\xff\n.png")
    target = linux(tmp_path).choose_target(path, now=NOW)
    trash = tmp_path / ".local/share/Trash"
    assert target.path == trash / "files" / path.name
    assert target.info_path == trash / "info" / f"{path.name}.trashinfo"
    assert target.info_content.startswith(b"[Trash Info]\n")
    info = read(target.info_content)
    assert unquote_to_bytes(info["Path"]) == bytes(path)
    assert info["DeletionDate"] == datetime.fromtimestamp(NOW).astimezone().strftime("%Y-%m-%dT%H:%M:%S")
    for folder in ("files", "info"):
        assert stat.S_IMODE((tmp_path / ".local/share/Trash" / folder).stat().st_mode) == 0o700


def test_the_home_trash_is_in_xdg_data_home(tmp_path: Path) -> None:
    target = linux(tmp_path, XDG_DATA_HOME=str(tmp_path / "data")).choose_target(tmp_path / "a.png", now=NOW)
    assert target.path == tmp_path / "data/Trash/files/a.png"


def test_another_disk_has_its_own_trash_and_a_relative_path_in_it(tmp_path: Path, disks: Path) -> None:
    target = linux(tmp_path).choose_target(disks / "memes/a.png", now=NOW)
    assert target.path == disks / f".Trash-{os.getuid()}/files/a.png"
    assert read(target.info_content)["Path"] == "memes/a.png"


def test_a_shared_trash_is_used_where_the_administrator_has_made_one(tmp_path: Path, disks: Path) -> None:
    (disks / ".Trash").mkdir()
    (disks / ".Trash").chmod(0o1777)
    target = linux(tmp_path).choose_target(disks / "memes/a.png", now=NOW)
    assert target.path == disks / f".Trash/{os.getuid()}/files/a.png"


@pytest.mark.parametrize("kind", ["not sticky", "a link", "a file"])
def test_a_shared_trash_that_is_not_safe_is_not_used(tmp_path: Path, disks: Path, kind: str) -> None:
    if kind == "not sticky":
        (disks / ".Trash").mkdir(mode=0o777)
    elif kind == "a link":
        (tmp_path / "elsewhere").mkdir()
        (disks / ".Trash").symlink_to(tmp_path / "elsewhere")
    else:
        (disks / ".Trash").touch()
    target = linux(tmp_path).choose_target(disks / "memes/a.png", now=NOW)
    assert target.path == disks / f".Trash-{os.getuid()}/files/a.png"


def test_a_taken_name_gets_a_number_even_if_only_its_info_file_exists(tmp_path: Path) -> None:
    trash, path = linux(tmp_path), tmp_path / "a.png"
    trash.choose_target(path, now=NOW)
    (tmp_path / ".local/share/Trash/files/a.png").touch()
    (tmp_path / ".local/share/Trash/info/a (2).png.trashinfo").touch()
    assert trash.choose_target(path, now=NOW).path.name == "a (3).png"


def test_on_macos_it_is_the_trash_of_the_finder(tmp_path: Path) -> None:
    (tmp_path / ".Trash").mkdir()
    (tmp_path / ".Trash/a.png").touch()
    target = Trash({"HOME": str(tmp_path)}, platform="darwin").choose_target(tmp_path / "a.png", now=NOW)
    assert target == trash_module.MoveTarget(tmp_path / ".Trash/a (2).png")


@pytest.mark.parametrize(
    ("name", "second"),
    [
        ("a.png", "a (2).png"),
        (".hidden", ".hidden (2)"),
        ("no extension", "no extension (2)"),
        ("a.a sentence, not an extension", "a.a sentence, not an extension (2)"),
        ("x" * 255, "x" * 251 + " (2)"),
        ("x" * 251 + ".png", "x" * 247 + " (2).png"),
    ],
)
def test_a_number_comes_before_the_extension_and_fits_the_file_system(name: str, second: str) -> None:
    names = numbered_names(name)
    assert [next(names), next(names)] == [name, second]
    assert len(second) <= 255


def test_a_broken_symlink_takes_a_name(tmp_path: Path) -> None:
    (tmp_path / "a.png").symlink_to("nowhere")
    assert find_free_path(tmp_path, "a.png") == tmp_path / "a (2).png"
