"""Run one other SQLite queue for `store.py`: `python store_peer.py NAME FOLDER COUNT`, where the peers are installed.

Prints the seconds of each stage as JSON. Every connection is set to `synchronous=FULL`, like ours.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Stages = dict[str, Callable[[], Any]]


def litequeue(folder: Path, messages: list[str]) -> Stages:
    from litequeue import LiteQueue  # noqa: PLC0415 - each peer is imported alone

    queue = LiteQueue(folder / "queue.db")
    queue.conn.execute("PRAGMA synchronous = FULL")
    claimed: list[Any] = []
    return {
        "enqueue": lambda: [queue.put(message) for message in messages],
        "claim": lambda: claimed.extend(queue.pop() for _ in messages),
        "acknowledge": lambda: [queue.done(message.message_id) for message in claimed],
    }


def persist_queue(folder: Path, messages: list[str]) -> Stages:
    from persistqueue import SQLiteAckQueue  # noqa: PLC0415 - each peer is imported alone

    queue = SQLiteAckQueue(str(folder))
    queue._conn.execute("PRAGMA synchronous = FULL")  # noqa: SLF001 - it has no setting for it
    claimed: list[Any] = []
    return {
        "enqueue": lambda: [queue.put(message) for message in messages],
        "claim": lambda: claimed.extend(queue.get(block=False, raw=True) for _ in messages),
        "acknowledge": lambda: [queue.ack(id=each["pqid"]) for each in claimed],
    }


def huey(folder: Path, messages: list[str]) -> Stages:
    """Huey deletes a task when it hands it out: there is no acknowledgement, and a crash loses the task."""
    from huey.storage import SqliteStorage  # noqa: PLC0415 - each peer is imported alone

    storage = SqliteStorage(filename=str(folder / "huey.db"), fsync=True)
    return {
        "enqueue": lambda: [storage.enqueue(message.encode()) for message in messages],
        "claim": lambda: [storage.dequeue() for _ in messages],
    }


PEERS = {"litequeue": litequeue, "persist-queue": persist_queue, "huey": huey}


def main() -> None:
    name, folder, count = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    folder.mkdir(parents=True)
    version = {"size": 150_000, "mtime_ns": 1_700_000_000_000_000_000, "device": 7}
    messages = [json.dumps({"path": f"/memes/{number}.jpg", "inode": number, **version}) for number in range(count)]
    took = {}
    for stage, action in PEERS[name](folder, messages).items():
        started = time.perf_counter()
        action()
        took[stage] = time.perf_counter() - started
    print(json.dumps(took))


if __name__ == "__main__":
    main()
