"""A full disk: the daemon runs and reports it, and its files stay queued."""

import contextlib
from pathlib import Path

import memes
import pytest
from lab import mounts
from temp_home import home_in

OUTAGE = "http://127.0.0.1:1"


@pytest.mark.root
def test_a_full_disk_is_named_by_status_why_and_add_until_there_is_room_again(tmp_path: Path):
    if reason := mounts.why_not("tmpfs"):
        pytest.skip(reason)
    pictures = tmp_path / "pictures"
    memes.mass(pictures, count=3, size_bytes=5_000, seed=9)
    with (
        mounts.small_disk(tmp_path / "disk", 4 << 20) as disk,
        home_in(disk.root / "home", SPLOOT_SERVER=OUTAGE) as home,
    ):
        home.ok("status")
        fill(disk.root / "ballast")
        added = home.run("add", str(pictures), "--once")
        assert added.returncode != 0
        assert (
            sentence := f"The disk that holds {home.state / 'queue.db'} is full: nothing was written"
        ) in added.stderr
        first, *_ = home.json("status")["actions_required"]
        assert first["what"].startswith(sentence)
        assert first["command"] == f"df -h {home.state}"
        assert f"action required: {sentence}" in home.ok("status")
        assert sentence in home.ok("why", "--slow")
        assert home.json("why", "--slow")["code"] == "disk_full"
        (disk.root / "ballast").unlink()
        assert not [each for each in home.json("status")["actions_required"] if "full" in each["what"]]
        assert "full" not in home.ok("why", "--slow")
        home.ok("add", str(pictures), "--once")


def fill(file: Path) -> None:
    """Write into a file until the disk has no room left."""
    with file.open("wb", buffering=0) as stream, contextlib.suppress(OSError):
        while stream.write(bytes(4_096)) == 4_096:
            pass
