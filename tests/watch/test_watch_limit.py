"""The kernel's limit of watches, set in a separate user namespace, so that it affects no other process."""

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from store_fixtures import open_store
from watch_fixtures import put, running_watcher

WATCHES = 4
FOLDERS = 10


def is_possible() -> bool:
    if shutil.which("unshare") is None:
        return False
    probe = ["unshare", "-U", "-r", "sh", "-c", f"echo {WATCHES} > /proc/sys/user/max_inotify_watches"]
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not is_possible(), reason="no user namespaces here, or no limit in them")
def test_at_the_kernels_limit_every_file_is_found_and_the_detail_names_the_remedy(tmp_path: Path) -> None:
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
    async with open_store(tmp_path / "queue.db") as store, running_watcher(store) as harness:
        watched = await harness.watch(memes)
        detail = await harness.until_state(watched, "polling")
        for folder in folders:
            put(folder / "x.png")
        await harness.until_paths(*(folder / "x.png" for folder in folders))
        print(harness.watcher.health(watched.id)[0])
        print(detail)


if __name__ == "__main__":
    asyncio.run(watch_and_find(Path(sys.argv[1])))
