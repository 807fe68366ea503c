"""The trash as the desktop knows it: what is put there can be put back by any file manager."""

import configparser
import os
import stat
from datetime import datetime
from pathlib import Path
from urllib.parse import unquote_to_bytes

import pytest

from splootd.work import trash as it
from splootd.work.trash import Trash, free_name, numbered

NOW = 1_700_000_000.0


def linux(home: Path, **environ: str) -> Trash:
    return Trash({"HOME": str(home), **environ}, platform="linux")


def read(note: bytes) -> dict[str, str]:
    parser = configparser.RawConfigParser()
    parser.optionxform = str  # type: ignore[assignment, method-assign]  # as its documentation says
    parser.read_string(note.decode())
    return dict(parser["Trash Info"])


@pytest.fixture
def disks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that counts as another disk."""

    def device(path: Path) -> int:
        path.lstat()
        return 2 if path.is_relative_to(tmp_path / "disk") else 1

    monkeypatch.setattr(it, "_device", device)
    (tmp_path / "disk" / "memes").mkdir(parents=True)
    return tmp_path / "disk"


def test_in_the_home_trash_the_note_says_where_it_came_from_and_when(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"100% \xc3\xa4\xff\n.png")
    place = linux(tmp_path).place(path, now=NOW)
    trash = tmp_path / ".local/share/Trash"
    assert place.target == trash / "files" / path.name
    assert place.note == trash / "info" / f"{path.name}.trashinfo"
    assert place.words.startswith(b"[Trash Info]\n")
    said = read(place.words)
    assert unquote_to_bytes(said["Path"]) == bytes(path)
    assert said["DeletionDate"] == datetime.fromtimestamp(NOW).astimezone().strftime("%Y-%m-%dT%H:%M:%S")
    for folder in ("files", "info"):
        assert stat.S_IMODE((tmp_path / ".local/share/Trash" / folder).stat().st_mode) == 0o700


def test_the_home_trash_is_where_the_desktop_keeps_its_data(tmp_path: Path) -> None:
    place = linux(tmp_path, XDG_DATA_HOME=str(tmp_path / "data")).place(tmp_path / "a.png", now=NOW)
    assert place.target == tmp_path / "data/Trash/files/a.png"


def test_another_disk_has_its_own_trash_and_a_relative_path_in_it(tmp_path: Path, disks: Path) -> None:
    place = linux(tmp_path).place(disks / "memes/a.png", now=NOW)
    assert place.target == disks / f".Trash-{os.getuid()}/files/a.png"
    assert read(place.words)["Path"] == "memes/a.png"


def test_a_shared_trash_is_used_where_the_administrator_has_made_one(tmp_path: Path, disks: Path) -> None:
    (disks / ".Trash").mkdir()
    (disks / ".Trash").chmod(0o1777)
    place = linux(tmp_path).place(disks / "memes/a.png", now=NOW)
    assert place.target == disks / f".Trash/{os.getuid()}/files/a.png"


@pytest.mark.parametrize("kind", ["not sticky", "a link", "a file"])
def test_a_shared_trash_that_is_not_safe_is_not_used(tmp_path: Path, disks: Path, kind: str) -> None:
    if kind == "not sticky":
        (disks / ".Trash").mkdir(mode=0o777)
    elif kind == "a link":
        (tmp_path / "elsewhere").mkdir()
        (disks / ".Trash").symlink_to(tmp_path / "elsewhere")
    else:
        (disks / ".Trash").touch()
    place = linux(tmp_path).place(disks / "memes/a.png", now=NOW)
    assert place.target == disks / f".Trash-{os.getuid()}/files/a.png"


def test_a_name_that_is_taken_gets_a_number_even_if_only_its_note_is_there(tmp_path: Path) -> None:
    trash, path = linux(tmp_path), tmp_path / "a.png"
    trash.place(path, now=NOW)
    (tmp_path / ".local/share/Trash/files/a.png").touch()
    (tmp_path / ".local/share/Trash/info/a (2).png.trashinfo").touch()
    assert trash.place(path, now=NOW).target.name == "a (3).png"


def test_on_a_mac_it_is_the_trash_of_the_finder(tmp_path: Path) -> None:
    (tmp_path / ".Trash").mkdir()
    (tmp_path / ".Trash/a.png").touch()
    place = Trash({"HOME": str(tmp_path)}, platform="darwin").place(tmp_path / "a.png", now=NOW)
    assert place == it.Place(tmp_path / ".Trash/a (2).png")


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
    names = numbered(name)
    assert [next(names), next(names)] == [name, second]
    assert len(second) <= 255


def test_a_free_name_is_free_even_of_broken_links(tmp_path: Path) -> None:
    (tmp_path / "a.png").symlink_to("nowhere")
    assert free_name(tmp_path, "a.png") == tmp_path / "a (2).png"
