"""The kernel's own limit, in a user namespace of its own, so that nobody else on this machine feels it."""

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from storekit import opened
from watchkit import manned, put

WATCHES = 4
FOLDERS = 10


def is_possible() -> bool:
    if shutil.which("unshare") is None:
        return False
    probe = ["unshare", "-U", "-r", "sh", "-c", f"echo {WATCHES} > /proc/sys/user/max_inotify_watches"]
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not is_possible(), reason="no user namespaces here, or no limit in them")
def test_with_the_real_limit_reached_every_file_is_found_and_the_remedy_is_told(tmp_path: Path) -> None:
    limit = f'echo {WATCHES} > /proc/sys/user/max_inotify_watches && exec "$0" "$@"'
    done = subprocess.run(
        ["unshare", "-U", "-r", "sh", "-c", limit, sys.executable, __file__, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    *_, state, detail = done.stdout.splitlines()
    assert state == "polling"
    missing = FOLDERS + 1 - WATCHES
    assert detail.startswith(f"{missing} of {FOLDERS + 1} folders cannot be watched")
    assert "sudo sysctl fs.inotify.max_user_watches=" in detail


async def watch_and_find(tmp_path: Path) -> None:
    memes = tmp_path / "memes"
    folders = [memes / str(number) for number in range(FOLDERS)]
    for folder in folders:
        folder.mkdir(parents=True)
    async with opened(tmp_path / "queue.db") as store, manned(store) as post:
        watched = await post.watch(memes)
        detail = await post.until_state(watched, "polling")
        for folder in folders:
            put(folder / "x.png")
        await post.until_named(*(folder / "x.png" for folder in folders))
        print(post.watcher.health(watched.id)[0])
        print(detail)


if __name__ == "__main__":
    asyncio.run(watch_and_find(Path(sys.argv[1])))
