"""`sploot-server backup` and `restore`, of a library in one folder that is in use."""

import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from toy_library import COMMAND, ServerProcess, picture

Start = Callable[..., ServerProcess]
BEFORE = 20


def run(*words: str, data: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *words, "--data", str(data)], capture_output=True, text=True, timeout=60, check=False
    )


def upload(server: ServerProcess, name: str) -> str:
    with server.client() as client:
        sent = client.post("/api/upload", files={"file": (f"{name}.jpg", picture(name), "image/jpeg")})
    assert sent.status_code == 201, sent.text
    return str(sent.json()["asset"]["id"])


def listed(server: ServerProcess) -> dict[str, bytes]:
    """Return the originals of all assets by name."""
    with server.client() as client:
        assets = client.get("/api/assets", params={"limit": 500}).json()["assets"]
        return {each["filename"]: client.get(f"/api/assets/{each['id']}/original").content for each in assets}


def test_a_backup_made_while_files_are_added_and_removed_restores_to_a_whole_library(
    start: Start, tmp_path: Path
) -> None:
    """And a second one into the same folder copies what is new, and drops what was removed for good."""
    server, target = start(), tmp_path / "backups of mine" / "first"
    ids = {f"before {number}": upload(server, f"before {number}") for number in range(BEFORE)}
    stop = threading.Event()

    def keep_changing() -> None:
        number = 0
        with server.client() as client:
            while not stop.is_set():
                asset = upload(server, f"during {number}")
                if number % 2:
                    client.delete(f"/api/assets/{asset}", params={"permanent": "true"})
                number += 1

    changing = threading.Thread(target=keep_changing)
    changing.start()
    try:
        made = run("backup", str(target), data=server.data)
    finally:
        stop.set()
        changing.join()
    assert made.returncode == 0, made.stderr
    assert f"to '{target}'.\n" in made.stderr

    restored = tmp_path / "restored"
    back = run("restore", str(target), data=restored)
    assert (back.returncode, "The database and the originals agree." in back.stderr) == (0, True), back.stderr
    found = listed(start(data=restored))
    assert set(ids) <= {name.removesuffix(".jpg") for name in found}
    assert all(content == picture(name.removesuffix(".jpg")) for name, content in found.items())

    with server.client() as client:
        client.delete(f"/api/assets/{ids['before 0']}", params={"permanent": "true"})
    upload(server, "later")
    kept = {file.name: file.stat().st_mtime_ns for file in (target / "blobs").glob("??/*")}
    assert run("backup", str(target), data=server.data).returncode == 0
    now = {file.name: file.stat().st_mtime_ns for file in (target / "blobs").glob("??/*")}
    originals = {file.name for file in (server.data / "blobs").glob("??/*")}
    assert set(now) == originals
    assert all(kept[name] == changed for name, changed in now.items() if name in kept), "they are not copied again"
    again = tmp_path / "again"
    assert run("restore", str(target), data=again).returncode == 0
    assert run("check", "--hashes", data=again).returncode == 0
    assert listed(start(data=again)) == listed(server)


def test_a_backup_overwrites_no_other_folder_and_a_restored_one_no_library(start: Start, tmp_path: Path) -> None:
    server, target = start(), tmp_path / "backup"
    upload(server, "cat")
    other = tmp_path / "photos"
    other.mkdir()
    (other / "mine.jpg").write_bytes(b"x")
    for folder in (other, server.data):
        refused = run("backup", str(folder), data=server.data)
        assert (refused.returncode, "is not empty and is no backup of this library" in refused.stderr) == (1, True)
    assert [each.name for each in other.iterdir()] == ["mine.jpg"]
    assert run("backup", str(target), data=server.data).returncode == 0
    for data, reason in ((server.data, "Another sploot-server already serves"), (tmp_path / "new", "")):
        ended = run("restore", str(target), data=data)
        assert (ended.returncode == 0, reason in ended.stderr) == (not reason, True), ended.stderr
    repeated = run("restore", str(target), data=tmp_path / "new")
    assert (repeated.returncode, "holds a library already. Move it away" in repeated.stderr) == (78, True)
    refused = run("restore", str(other), data=tmp_path / "third")
    assert (refused.returncode, "is not a complete backup" in refused.stderr) == (78, True)
    assert not (tmp_path / "third").exists()


def test_an_interrupted_backup_is_not_restored_and_is_continued(start: Start, tmp_path: Path) -> None:
    server, target = start(), tmp_path / "backup"
    upload(server, "cat")
    (target / "blobs").parent.mkdir()
    target.chmod(0o700)
    (target / "blobs").write_text("a file in the way of the originals")
    broken = run("backup", str(target), data=server.data)
    assert (broken.returncode, "is not empty" in broken.stderr) == (1, True)
    (target / "blobs").unlink()
    server.stop()
    assert run("backup", str(target), data=server.data).returncode == 0, "also without a running server"
    missing = next((server.data / "blobs").glob("??/*"))
    missing.unlink()
    incomplete = run("backup", str(tmp_path / "other"), data=server.data)
    assert (incomplete.returncode, "1 file had no original" in incomplete.stderr) == (1, True)


@pytest.mark.parametrize("option", [("--database", "postgresql://host/x"), ("--blobs", "s3://bucket")])
def test_a_backup_is_not_restored_into_other_stores(tmp_path: Path, option: tuple[str, str]) -> None:
    refused = run("restore", str(tmp_path), *option, data=tmp_path / "library")
    assert (refused.returncode, "without --database and --blobs" in refused.stderr) == (78, True)
