"""Time commands against bare Python: `python benchmarks/commands.py [--items 1000000] [--rounds 21]`.

All commands run against one daemon with that many items in its queue. The ratios are taken within each round, so a
busy machine, which slows both sides, matters little.
"""

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from side_by_side import ratio, rounds, show, timed
from store_fixtures import source, version
from temp_home import Home, home_in

from splootd.config import LOCAL
from splootd.core.item import FoundFile
from splootd.event_bus import WakeSignals
from splootd.store.accounts import open_account
from splootd.store.database import Database
from splootd.store.enqueue import ENQUEUE_BATCH_MAX
from splootd.store.imports import ImportStore

HOT = ("status", "status --json", "add FILE")
OTHERS = (
    *("list", "why FILE", "failed", "folders", "bump FILE", "retry --all", "pause", "metrics", "logs", "why --slow"),
    *("--version", "--help", "list --help", "retry 17", "config get server", "config list", "service status"),
    *("doctor --no-self-test", "undo --last", "ui --no-open"),
)


async def fill(path: Path, count: int) -> None:
    """Enqueue waiting items, as a scan would."""
    database = await Database.open(path)
    try:
        server_id, _ = await open_account(database, LOCAL)
        import_store = ImportStore(database, server_id=server_id, wake_signals=WakeSignals())
        for start in range(0, count, ENQUEUE_BATCH_MAX):
            numbers = range(start, min(start + ENQUEUE_BATCH_MAX, count))
            batch = [FoundFile(b"/memes/%d.jpg" % number, version(number)) for number in numbers]
            await import_store.enqueue(batch, source(), is_still_there=lambda path, version: True, now=1.0)
    finally:
        await database.close()


def running(command: list[str], environ: dict[str, str]) -> Callable[[], float]:
    def run() -> float:
        return timed(lambda: subprocess.run(command, env=environ, capture_output=True, check=False))

    return run


def measure(home: Home, turns: int) -> None:
    picture = home.folder / "picture.png"
    picture.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(64))
    (home.folder / "memes").mkdir()
    home.ok("pause")
    home.ok("add", str(home.folder / "memes"))
    home.ok("add", str(picture))
    program = Path(sys.executable).with_name("sploot")
    environ = {name: value for name, value in home.variables().items() if name != "PYTHONDONTWRITEBYTECODE"}
    for targets, limit in ((HOT, 2.5), (OTHERS, 8.0)):
        contenders = {"": running([sys.executable, "-c", "pass"], environ)}
        for line in targets:
            contenders[line] = running(
                [str(program), *(str(picture) if word == "FILE" else word for word in line.split())], environ
            )
        rounds(2, contenders)  # so that Python writes its .pyc files
        took = rounds(turns, contenders)
        for line in targets:
            show(f"sploot {line}, against bare Python", f"{ratio(took[line], took['']):.2f} x", f"at most {limit:g} x")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=21)
    arguments = parser.parse_args()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryDirectory() as name, home_in(Path(name) / "home") as home:
        home.ok("daemon", "start")
        home.ok("pause")
        home.ok("daemon", "stop")
        asyncio.run(fill(home.state / "queue.db", arguments.items))
        show("items", f"{home.json('status')['items']['total']:,}")
        measure(home, arguments.rounds)


if __name__ == "__main__":
    main()
