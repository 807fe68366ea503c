"""The real daemon and a faulty Sploot as processes; both are killed at random moments, and at the end the books agree.

    python tests/kill_harness.py --rounds 25 --kills 40 --seed 1

Each round is a home of its own: files are added while the daemon dies again and again, whatever it is doing, and the
server answers as on its worst day. Then the faults end, and it is held that every content is on the server exactly
once, that every item says so, and that the rows add up. The daemon is forked from this program, in which everything is
imported already: so a life costs little more than the time it is given, and thousands fit into minutes.
"""

import argparse
import contextlib
import hashlib
import json
import os
import random
import select
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import faulty_sploot
from specimens import mass
from sploot.connection import Connection, LostError
from storekit import RECOUNT

from splootd import daemon
from splootd.config import Paths
from splootd.protocol import Add, Added, Bump, Changed, GetStatus, Items, ListItems, Request, Retry, Status
from splootd.wire import decode

T = TypeVar("T")

FILES = 60
FILE_BYTES = 9_000
ADDS = 12  # commands in a round
LIFE_S = (0.0, 0.35)
START_S = 30.0
ROUND_S = 120.0  # for all to end once the faults have
PAGE = 1_000
SERVER_OPTIONS = ("--faults", "chaos", "--work", "0.02", "--embed", "0.2", "--token-life", "14")
BUSY = ("pending", "uploading", "embedding")
KEPT = "SELECT * FROM counts WHERE n > 0 ORDER BY 1, 2, 3, 4, 5"


class Wrong(Exception):
    """The promise was not kept."""


@dataclass
class Daemon:
    """Forked from here, so that it starts at once. `pid` is that of the present life, if there is one."""

    home: Path
    environ: Mapping[str, str]
    pid: int | None = None

    @property
    def paths(self) -> Paths:
        return Paths.find(self.environ)

    def start(self) -> None:
        """Return when it answers. Wrong when it does not, or says why not."""
        ready, told = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(ready)
            self._become(told)
        os.close(told)
        with os.fdopen(ready) as answer:
            word = answer.readline() if select.select([answer], [], [], START_S)[0] else "nothing in time"
        if word != "ready\n":
            raise Wrong(f"the daemon said {word!r}: {self.said()}")

    def _become(self, told: int) -> None:
        """In the child: never return."""
        code = 70
        try:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            log = os.open(self.home / "stderr", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(log, 2)
            os.environ.clear()
            os.environ.update(self.environ)
            random.seed()
            sys.argv = ["splootd", "--ready-fd", str(told)]
            daemon.main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        except BaseException:  # noqa: BLE001 - the parent reads it
            traceback.print_exc()
        finally:
            os._exit(code)

    def kill_in(self, seconds: float) -> None:
        """Kill it without a word after so long, whatever this program is doing then."""
        pid = self.pid

        def kill(*_: object) -> None:
            assert pid is not None
            os.kill(pid, signal.SIGKILL)

        signal.signal(signal.SIGALRM, kill)
        signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-6))

    def ended(self) -> int:
        """Wait for its end; what it ended with, as `os.waitpid` says it."""
        assert self.pid is not None
        _, status = os.waitpid(self.pid, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        self.pid = None
        return status

    def stop(self) -> None:
        assert self.pid is not None
        os.kill(self.pid, signal.SIGTERM)
        if status := self.ended():
            raise Wrong(f"the daemon ended with {status}: {self.said()}")

    def said(self) -> str:
        with contextlib.suppress(FileNotFoundError):
            return (self.home / "stderr").read_text("utf-8", "replace")
        return ""

    def ask(self, request: Request, reply: type[T], key: str | None = None) -> T:
        """Raises LostError or OSError when the daemon dies before it has answered."""
        connection = Connection(self.paths.socket)
        try:
            head = connection.send(request, key or os.urandom(8).hex())
            body = json.loads(connection.body(head))
        finally:
            connection.close()
        if head.status != 200:
            raise Wrong(f"{request} was answered with {head.status}: {body}")
        return decode(reply, body)


@dataclass
class Round:
    """One home, from its first file to the comparison of the books."""

    folder: Path
    chance: random.Random
    figures: Counter[str] = field(default_factory=Counter)
    owed: dict[str, Add] = field(default_factory=dict)

    def run(self, kills: int) -> Counter[str]:
        files = self.make_files()
        seed = str(self.chance.randrange(1 << 30))
        with faulty_sploot.running(self.folder / "journal", *SERVER_OPTIONS, "--seed", seed) as server:
            self.server = server
            self.daemon = Daemon(self.folder, self.environ())
            try:
                self.live(files, kills)
                self.finish()
                self.compare(files)
            finally:
                if self.daemon.pid is not None:
                    os.kill(self.daemon.pid, signal.SIGKILL)
                    self.daemon.ended()
        return self.figures

    def make_files(self) -> list[Path]:
        """A third of them are copies of others."""
        files = mass(self.folder / "memes", FILES, FILE_BYTES, seed=self.chance.randrange(1 << 30))
        for file, copy in zip(files[::3], files[1::3], strict=True):
            shutil.copyfile(file, copy)
        return files

    def environ(self) -> dict[str, str]:
        home = self.folder / "home"
        home.mkdir()
        (home / "sploot").mkdir()
        config = f"token_command = {json.dumps(self.server.token_command)}\nsettle_s = 0.0\n"
        (home / "sploot" / "config.toml").write_text(config)
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "SPLOOT_HOME": str(home / "sploot"),
            "SPLOOT_SERVER": self.server.url,
            "LANG": "C.UTF-8",
        }

    def live(self, files: Sequence[Path], kills: int) -> None:
        """`kills` lives, each with a moment of its own to die; in each of the first ones the user adds some files."""
        adds = iter([Add(tuple(map(str, files[start::ADDS])), watch=False) for start in range(ADDS)])
        for life in range(kills):
            self.daemon.start()
            self.daemon.kill_in(self.chance.uniform(*LIFE_S))
            if add := next(adds, None):
                self.owed[f"add {life}"] = add
            self.deliver()
            if self.chance.random() < 0.1:
                self.server.kill()
                self.server.start()
                self.figures["server kills"] += 1
            status = self.daemon.ended()
            if not os.WIFSIGNALED(status):
                raise Wrong(f"the daemon ended by itself, with {status}: {self.daemon.said()}")
            self.figures["kills"] += 1
        self.owed.update({f"late {number}": add for number, add in enumerate(adds)})

    def deliver(self) -> None:
        """As the command line does: what was not answered is asked for again under its key, by the next life."""
        with contextlib.suppress(LostError, OSError):
            for key, add in list(self.owed.items()):
                self.daemon.ask(add, Added, key)
                del self.owed[key]

    def finish(self) -> None:
        """The faults end. What is delayed goes on at once, and dead letters are given another chance."""
        self.server.tell("faults", {})
        self.daemon.start()
        self.deliver()
        assert not self.owed
        self.hurry()
        self.figures["dead on the way"] += len(self.items("dead"))
        for item in self.items("dead"):
            if not item.reason:
                raise Wrong(f"{item} does not say why")
        self.daemon.ask(Retry(all=True), Changed)
        self.hurry()
        self.daemon.stop()

    def hurry(self) -> None:
        """Until nothing is left to do."""
        end = time.monotonic() + ROUND_S
        while any((status := self.daemon.ask(GetStatus(), Status)).items[state] for state in BUSY):
            if delayed := [str(item.id) for item in self.items("pending") if item.next_at]:
                self.daemon.ask(Bump(tuple(delayed)), Changed)
            if time.monotonic() > end:
                raise Wrong(f"{status.items} after {ROUND_S:.0f} s: {status.server}")
            select.select([], [], [], 0.1)

    def items(self, state: str) -> Sequence[Any]:
        return self.daemon.ask(ListItems(state=state, limit=PAGE), Items).items

    def compare(self, files: Sequence[Path]) -> None:
        """The server's books, the daemon's rows, and the files."""
        books = self.server.books()
        contents = {hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
        if books.created != dict.fromkeys(contents, 1):
            raise Wrong(f"stored: {books.created.most_common(3)}; missing: {contents - set(books.created)}")
        with contextlib.closing(sqlite3.connect(self.daemon.paths.database)) as connection:
            rows = connection.execute("SELECT path, state, hex(sha256) FROM items").fetchall()
            sums = [connection.execute(query).fetchall() for query in (RECOUNT, KEPT)]
            integrity = connection.execute("PRAGMA integrity_check").fetchone()[0]
        expected = {
            (os.fsencode(file), "ready", hashlib.sha256(file.read_bytes()).hexdigest().upper()) for file in files
        }
        if set(rows) != expected or len(rows) != len(files):
            raise Wrong(f"rows: {set(rows) ^ expected}")
        if sums[0] != sums[1] or integrity != "ok":
            raise Wrong(f"{integrity}; recounted {sums[0]}, kept {sums[1]}")
        if books.lines_max > 4:
            raise Wrong(f"{books.lines_max} lines at once")
        log = "".join(file.read_text("utf-8", "replace") for file in self.daemon.paths.state.glob("*.log*"))
        if "Traceback" in self.daemon.said() + log:
            raise Wrong(self.daemon.said() + log[log.index("Traceback") - 500 :][:3_000])
        self.figures.update(
            rounds=1,
            contents=len(contents),
            uploads=books.uploads,
            conflicts=books.conflicts.total(),
            at_once=books.at_once,
            faults=books.faults.total(),
        )


def main() -> None:
    arguments = argparse.ArgumentParser(description="Kill the daemon at random moments, and compare the books.")
    arguments.add_argument("--rounds", type=int, default=25)
    arguments.add_argument("--kills", type=int, default=40, help="in each round")
    arguments.add_argument("--seed", type=int, default=random.randrange(1, 1 << 31))
    options = arguments.parse_args()
    started, figures, failed = time.monotonic(), Counter[str](), []
    for number in range(options.rounds):
        seed = options.seed + number
        folder = Path(tempfile.mkdtemp(prefix="kills-"))
        try:
            figures += Round(folder, random.Random(seed)).run(options.kills)
        except Exception:  # noqa: BLE001 - the next round is worth a look all the same
            failed.append(seed)
            print(f"seed {seed} ({folder} is kept):\n{traceback.format_exc()}", flush=True)
        else:
            shutil.rmtree(folder)
    print(json.dumps({**figures, "seed": options.seed, "seconds": round(time.monotonic() - started), "failed": failed}))
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
