"""Post-upload actions, backup and restore, damage recovery and deleted assets, with the three real programs."""

import contextlib
import hashlib
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import memes
import pytest
from store_fixtures import damage
from temp_home import POLL_S, Home, home_in

COUNT = 6
MANY = 300  # more than fit on one database page
STARTS_MAX = 200


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    with home_in(tmp_path / "home") as home:
        yield home


def folder_of(tmp_path: Path, name: str, *, seed: int, count: int = COUNT) -> Path:
    memes.mass(tmp_path / name, count=count, size_bytes=5_000, seed=seed)
    return tmp_path / name


def add(home: Home, *arguments: str | Path) -> None:
    home.ok("add", *map(str, arguments), "--wait", "--timeout", "100")


def digests(*folders: Path) -> list[str]:
    return sorted(hashlib.sha256(file.read_bytes()).hexdigest() for folder in folders for file in folder.iterdir())


def in_the_library(home: Home) -> list[str]:
    return sorted(file.name for file in home.originals())


def library(home: Home, method: str, path: str) -> httpx.Response:
    """Send a request to the local server, waiting for its start."""
    while home.json("status")["server"]["state"] != "ok":
        time.sleep(POLL_S)
    transport = httpx.HTTPTransport(uds=str(home.folder / "sploot" / "run" / "library.sock"))
    with httpx.Client(transport=transport, base_url="http://library") as client:
        return client.request(method, path)


def wait_until_empty(home: Home, folder: Path) -> None:
    """Wait until the folder is empty."""
    for _ in range(200):
        if not any(folder.iterdir()):
            return
        home.ok("status")
    raise AssertionError(f"still present: {list(folder.iterdir())}")


def test_files_are_trashed_after_upload_and_restored_by_undo(home: Home, tmp_path: Path):
    folder = folder_of(tmp_path, "memes", seed=1)
    expected, names = digests(folder), sorted(file.name for file in folder.iterdir())
    add(home, folder, "--once", "--after-upload", "trash")
    wait_until_empty(home, folder)
    assert in_the_library(home) == expected
    trash = home.folder / ".local/share/Trash"
    assert digests(trash / "files") == expected
    assert len(list((trash / "info").iterdir())) == COUNT
    output = home.ok("why", str(folder / names[0]))
    assert "moved to the trash after the upload. To undo: sploot undo" in " ".join(output.split())
    (row,) = [row for row in home.rows() if row["path"].endswith(names[0])]
    assert home.ok("undo", str(row["id"])) == f"Restored {folder / names[0]}.\n"
    assert home.run("undo", str(row["id"])).returncode == 1
    for _ in range(COUNT - 1):
        home.ok("undo", "--last")
    assert home.run("undo", "--last").returncode == 1
    assert home.run("undo").returncode == 2
    assert digests(folder) == expected
    assert list((trash / "info").iterdir()) == []
    assert home.json("status")["items"] == home.json("status")["items"] | {"ready": COUNT, "total": COUNT}


def test_files_of_a_watched_folder_are_moved_and_later_ones_too(home: Home, tmp_path: Path):
    folder, archive = folder_of(tmp_path, "memes", seed=2), tmp_path / "a archive"
    archive.mkdir()
    expected = digests(folder)
    add(home, folder, "--after-upload", f"move:{archive}")
    wait_until_empty(home, folder)
    assert digests(archive) == expected
    memes.mass(folder, count=2, size_bytes=5_000, seed=3)
    later = digests(folder)
    wait_until_empty(home, folder)
    assert digests(archive) == sorted(expected + later) == in_the_library(home)
    assert {Path(row["path"]).parent for row in home.rows("--state", "ready")} == {archive}


def test_an_invalid_post_upload_action_is_rejected(home: Home, tmp_path: Path):
    folder = folder_of(tmp_path, "memes", seed=4)
    for action in ("shred", f"move:{tmp_path / 'nowhere'}", "move:"):
        done = home.run("add", str(folder), "--after-upload", action)
        assert done.returncode == 2, done.stderr
        assert "hint:" in done.stderr
    assert home.json("status")["items"]["total"] == 0


def test_after_restoring_an_old_backup_every_content_is_in_the_library_exactly_once(home: Home, tmp_path: Path):
    """The restored ledger is outdated, so every content is checked in the library before an upload."""
    first, second = folder_of(tmp_path, "first", seed=5), folder_of(tmp_path, "second", seed=6)
    copy = tmp_path / "copy of the queue.db"
    add(home, first)
    assert str(copy) in home.ok("backup", str(copy))
    before = copy.read_bytes()
    add(home, second)
    assert home.json("status")["items"]["ready"] == 2 * COUNT
    pid = home.daemon_pid()
    assert "Restored the queue from" in home.ok("restore", str(copy))
    assert home.daemon_pid() != pid
    assert home.json("status")["items"]["total"] == COUNT
    assert [folder["path"] for folder in home.json("folders")] == [str(first)]
    add(home, first, second)
    items = home.json("status")
    assert (items["items"]["ready"], items["duplicates"]) == (2 * COUNT, COUNT)
    assert in_the_library(home) == digests(first, second)
    assert library(home, "GET", "/api/assets").json()["pagination"]["total"] == 2 * COUNT
    assert copy.read_bytes() == before
    (replaced,) = home.state.glob("queue.db.replaced-*")
    connection = sqlite3.connect(replaced)
    assert connection.execute("SELECT count(*) FROM items").fetchone() == (2 * COUNT,)
    connection.close()


def test_an_unusable_backup_is_rejected_and_nothing_is_changed(home: Home, tmp_path: Path):
    add(home, folder_of(tmp_path, "memes", seed=7))
    pid, newer = home.daemon_pid(), tmp_path / "newer.db"
    home.ok("backup", str(newer))
    connection = sqlite3.connect(newer)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    foreign = tmp_path / "foreign.db"
    foreign.write_bytes(b"Dear diary, " * 1_000)
    for file, words in (
        (newer, "newer version"),
        (foreign, "damaged or not a database"),
        (tmp_path / "no", "does not exist"),
    ):
        done = home.run("restore", str(file))
        assert done.returncode == 1
        assert words in done.stderr
        assert str(file) in done.stderr
    assert home.daemon_pid() == pid
    assert home.json("status")["items"]["ready"] == COUNT
    for file in (home.state / "queue.db", tmp_path / "no folder" / "x.db", tmp_path):
        assert home.run("backup", str(file)).returncode == 2


def test_a_queue_of_a_newer_version_can_be_replaced_by_a_backup(home: Home, tmp_path: Path):
    add(home, folder_of(tmp_path, "memes", seed=8))
    copy = tmp_path / "copy.db"
    home.ok("backup", str(copy))
    home.ok("daemon", "stop")
    connection = sqlite3.connect(home.state / "queue.db")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    assert home.run("status").returncode == 3
    home.ok("restore", str(copy))
    assert home.json("status")["items"]["ready"] == COUNT


@pytest.mark.parametrize("has_copy", [True, False])
def test_a_damaged_queue_is_replaced_and_reported_and_nothing_is_uploaded_twice(
    home: Home, tmp_path: Path, has_copy: bool
):
    folder = folder_of(tmp_path, "memes", seed=9)
    add(home, folder)
    home.ok("daemon", "stop")
    queue, copies = home.state / "queue.db", home.state / "backups"
    if has_copy:
        connection = sqlite3.connect(queue)
        connection.execute("VACUUM INTO ?", (str(copies / "queue-000000000009.db"),))
        connection.close()
    for each in copies.iterdir():
        if not has_copy or each.name != "queue-000000000009.db":
            each.unlink()
    damaged = b"\0" * 4096 + queue.read_bytes()[4096:]
    queue.write_bytes(damaged)
    now = home.json("status")
    (action,) = now["actions_required"]
    assert "the queue database was damaged" in action["what"]
    assert action["command"] == "sploot resume"
    assert home.run("status", "--exit-code").returncode == 4
    (aside,) = home.state.glob("queue.db.damaged-*")
    assert aside.read_bytes() == damaged
    assert str(aside) in action["what"]
    assert ("add your folders again" in action["what"]) is not has_copy
    assert now["items"]["total"] == (COUNT if has_copy else 0)
    home.ok("resume")
    add(home, folder)
    now = home.json("status")
    assert (now["actions_required"], now["items"]["ready"]) == ([], COUNT)
    assert now["duplicates"] == (0 if has_copy else COUNT)
    assert in_the_library(home) == digests(folder)


def test_hidden_damage_is_found_by_the_daemon_and_the_next_start_restores_a_backup(home: Home):
    home.queue_and_hold(MANY)
    home.ok("daemon", "stop")
    queue = home.state / "queue.db"
    with contextlib.closing(sqlite3.connect(queue)) as connection:
        connection.execute("UPDATE settings SET value = '0.0' WHERE name = 'integrity_checked_at'")
        connection.commit()
        connection.execute("VACUUM INTO ?", (str(home.state / "backups" / "queue-999999999999.db"),))
    damage(queue, "items")
    for _ in range(STARTS_MAX):
        if actions := home.json("status")["actions_required"]:
            break
    assert "the queue database was damaged" in actions[0]["what"]
    assert len(list(home.state.glob("queue.db.damaged-*"))) == 1
    assert home.json("status")["items"]["total"] == MANY


def test_an_asset_deleted_in_the_library_stays_deleted_unless_forced(home: Home, tmp_path: Path):
    folder = folder_of(tmp_path, "memes", seed=10, count=2)
    add(home, folder)
    row, other = home.rows()
    assert library(home, "DELETE", f"/api/assets/{row['asset_id']}?permanent=true").status_code == 200
    explanation = home.json("why", row["path"])
    assert explanation["removed_at"]
    assert f"To upload it again: sploot add --force {row['path']}" in explanation["next"]
    assert home.json("why", other["path"])["removed_at"] is None
    copy = tmp_path / "copy.jpg"
    copy.write_bytes(Path(row["path"]).read_bytes())
    for removed, told in (
        (copy, "1 file was removed from the library before: sploot add --force uploads again."),
        (folder, "1 removed from the library (to upload again: sploot add --force)"),
    ):
        added = home.run("add", str(removed), "--wait", "--timeout", "100")
        assert added.returncode == 1
        assert told in added.stdout
    assert home.json("why", str(copy))["item"]["error_code"] == "removed"
    assert library(home, "GET", "/api/assets").json()["pagination"]["total"] == 1
    add(home, row["path"], "--force")
    assert library(home, "GET", "/api/assets").json()["pagination"]["total"] == 2
    assert in_the_library(home) == digests(folder)
    explanation = home.json("why", row["path"])
    assert (explanation["item"]["state"], explanation["removed_at"], explanation["versions"]) == ("ready", None, 2)


def test_a_file_deleted_locally_stays_in_the_library(home: Home, tmp_path: Path):
    folder = folder_of(tmp_path, "memes", seed=11)
    add(home, folder)
    expected = digests(folder)
    for file in folder.iterdir():
        file.unlink()
    memes.mass(folder, count=1, size_bytes=5_000, seed=12)
    add(home, folder)
    (fresh,) = digests(folder)
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
    home.ok("daemon", "restart")
    home.ok("folders")
    assert in_the_library(home) == sorted([*expected, fresh])
    assert library(home, "GET", "/api/assets").json()["pagination"]["total"] == COUNT + 1
