"""The daemon is killed repeatedly at random moments; nothing is lost and nothing is uploaded twice."""

import hashlib
import json
import os
import random
import threading
from pathlib import Path

import memes
from temp_home import Home, home_in

KILLS = int(os.environ.get("SPLOOT_TEST_KILLS", "8"))
SEED = int(os.environ.get("SPLOOT_TEST_SEED", "0")) or random.randrange(1, 2**31)
FILES = 100


def kill_while_it_works(home: Home, chance: random.Random) -> None:
    """Start the daemon with a command, let it work for a random time, and send SIGKILL."""
    home.ok("status")
    threading.Event().wait(chance.uniform(0.0, 0.35))  # a random moment for the kill
    assert home.kill_daemon()


def test_killed_at_random_moments_each_content_arrives_exactly_once(tmp_path: Path):
    print(f"seed {SEED}, {KILLS} kills")
    chance = random.Random(SEED)
    folder = tmp_path / "memes"
    memes.mass(folder, count=FILES, size_bytes=30_000, seed=SEED)
    sent = sorted(hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir())
    with home_in(tmp_path / "home") as home:
        home.ok("add", str(folder))
        for _ in range(KILLS):
            kill_while_it_works(home, chance)
        home.ok("add", str(folder), "--wait", "--timeout", "100")
        items = json.loads(home.ok("status", "--json"))["items"]
        assert items["total"] == FILES
        assert items["ready"] == FILES
        assert sorted(file.name for file in home.originals()) == sent
