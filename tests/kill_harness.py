"""Kill the real daemon and a faulty Sploot server at random moments, and compare their records at the end.

    python tests/kill_harness.py --rounds 25 --kills 40 --seed 1

Each round has its own home: files are added while the daemon is killed again and again, and the server injects faults.
Then the faults end, and the harness checks that every content is on the server exactly once, that every item is ready,
and that the sums are right. The daemon is forked from this program, which has imported all modules already: a start
costs little time, and thousands of kills fit into minutes.
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
from sample_files import mass
from sploot.connection import Connection, ConnectionLostError
from store_fixtures import RECOUNT

from splootd import daemon
from splootd.codec import decode
from splootd.config import Paths
from splootd.protocol import Add, AddReply, Bump, ChangeReply, GetStatus, Items, ListItems, Request, Retry, Status

T = TypeVar("T")

FILES = 60
FILE_BYTES = 9_000
ADD_COMMANDS = 12  # commands in a round
RUN_S = (0.0, 0.35)
START_S = 30.0
ROUND_S = 120.0  # the maximum for all items to end after the faults
PAGE = 1_000
SERVER_OPTIONS = ("--faults", "chaos", "--work", "0.02", "--embed", "0.2", "--token-life", "14")
BUSY = ("pending", "uploading", "embedding")
STORED_SUMS = "SELECT * FROM item_counts WHERE n > 0 ORDER BY 1, 2, 3, 4, 5"


class HarnessFailure(Exception):
    """A check has failed."""


@dataclass
class Daemon:
    """The daemon, forked from this process to start fast. `pid` is None while it is not running."""

    home: Path
    environ: Mapping[str, str]
    pid: int | None = None

    @property
    def paths(self) -> Paths:
        return Paths.from_environ(self.environ)

    def start(self) -> None:
        """Start the daemon and wait until it is ready. Raises HarnessFailure if it is not."""
        ready, ready_fd = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(ready)
            self._become(ready_fd)
        os.close(ready_fd)
        with os.fdopen(ready) as answer:
            word = answer.readline() if select.select([answer], [], [], START_S)[0] else "timeout"
        if word != "ready\n":
            raise HarnessFailure(f"the daemon reported {word!r}: {self.stderr_text()}")

    def _become(self, ready_fd: int) -> None:
        """Run the daemon in the child process. Never returns."""
        code = 70
        try:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            log = os.open(self.home / "stderr", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(log, 2)
            os.environ.clear()
            os.environ.update(self.environ)
            random.seed()
            sys.argv = ["splootd", "--ready-fd", str(ready_fd)]
            daemon.main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        except BaseException:  # noqa: BLE001 - the parent reads stderr
            traceback.print_exc()
        finally:
            os._exit(code)

    def kill_after(self, seconds: float) -> None:
        """Kill the daemon after this time, from a signal handler of this program."""
        pid = self.pid

        def kill(*_: object) -> None:
            assert pid is not None
            os.kill(pid, signal.SIGKILL)

        signal.signal(signal.SIGALRM, kill)
        signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-6))

    def wait(self) -> int:
        """Wait for the end of the daemon and return the status of `os.waitpid`."""
        assert self.pid is not None
        _, status = os.waitpid(self.pid, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        self.pid = None
        return status

    def stop(self) -> None:
        assert self.pid is not None
        os.kill(self.pid, signal.SIGTERM)
        if status := self.wait():
            raise HarnessFailure(f"the daemon ended with {status}: {self.stderr_text()}")

    def stderr_text(self) -> str:
        with contextlib.suppress(FileNotFoundError):
            return (self.home / "stderr").read_text("utf-8", "replace")
        return ""

    def send(self, request: Request, reply: type[T], key: str | None = None) -> T:
        """Send a request and return its reply. Raises ConnectionLostError or OSError if the daemon is killed first."""
        connection = Connection(self.paths.socket)
        try:
            head = connection.send_request(request, key or os.urandom(8).hex())
            body = json.loads(connection.read_body(head))
        finally:
            connection.close()
        if head.status != 200:
            raise HarnessFailure(f"{request} was answered with {head.status}: {body}")
        return decode(reply, body)


@dataclass
class Round:
    """One home, from its first file to the final comparison."""

    folder: Path
    chance: random.Random
    stats: Counter[str] = field(default_factory=Counter)
    pending_adds: dict[str, Add] = field(default_factory=dict)

    def run(self, kills: int) -> Counter[str]:
        files = self.make_files()
        seed = str(self.chance.randrange(1 << 30))
        with faulty_sploot.running(self.folder / "journal", *SERVER_OPTIONS, "--seed", seed) as server:
            self.server = server
            self.daemon = Daemon(self.folder, self.environ())
            try:
                self.run_and_kill(files, kills)
                self.finish()
                self.compare(files)
            finally:
                if self.daemon.pid is not None:
                    os.kill(self.daemon.pid, signal.SIGKILL)
                    self.daemon.wait()
        return self.stats

    def make_files(self) -> list[Path]:
        """Create the files. A third of them are copies of others."""
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

    def run_and_kill(self, files: Sequence[Path], kills: int) -> None:
        """Start and kill the daemon `kills` times. The first runs each receive one add command."""
        adds = iter([Add(tuple(map(str, files[start::ADD_COMMANDS])), watch=False) for start in range(ADD_COMMANDS)])
        for number in range(kills):
            self.daemon.start()
            self.daemon.kill_after(self.chance.uniform(*RUN_S))
            if add := next(adds, None):
                self.pending_adds[f"add {number}"] = add
            self.send_adds()
            if self.chance.random() < 0.1:
                self.server.kill()
                self.server.start()
                self.stats["server kills"] += 1
            status = self.daemon.wait()
            if not os.WIFSIGNALED(status):
                raise HarnessFailure(f"the daemon ended unexpectedly with {status}: {self.daemon.stderr_text()}")
            self.stats["kills"] += 1
        self.pending_adds.update({f"late {late}": add for late, add in enumerate(adds)})

    def send_adds(self) -> None:
        """Send all commands without a reply under their keys, as the command line does after a restart."""
        with contextlib.suppress(ConnectionLostError, OSError):
            for key, add in list(self.pending_adds.items()):
                self.daemon.send(add, AddReply, key)
                del self.pending_adds[key]

    def finish(self) -> None:
        """End the faults, make delayed items due, and retry failed items."""
        self.server.send_command("faults", {})
        self.daemon.start()
        self.send_adds()
        assert not self.pending_adds
        self.wait_until_finished()
        self.stats["failed on the way"] += len(self.items("failed"))
        for item in self.items("failed"):
            if not item.error_message:
                raise HarnessFailure(f"{item} has no error message")
        self.daemon.send(Retry(all=True), ChangeReply)
        self.wait_until_finished()
        self.daemon.stop()

    def wait_until_finished(self) -> None:
        """Wait until all items have ended."""
        end = time.monotonic() + ROUND_S
        while any((status := self.daemon.send(GetStatus(), Status)).items[state] for state in BUSY):
            if delayed := [str(item.id) for item in self.items("pending") if item.next_at]:
                self.daemon.send(Bump(tuple(delayed)), ChangeReply)
            if time.monotonic() > end:
                raise HarnessFailure(f"{status.items} after {ROUND_S:.0f} s: {status.server}")
            select.select([], [], [], 0.1)

    def items(self, state: str) -> Sequence[Any]:
        return self.daemon.send(ListItems(state=state, limit=PAGE), Items).items

    def compare(self, files: Sequence[Path]) -> None:
        """Compare the journal of the server, the rows of the daemon, and the files."""
        summary = self.server.summary()
        contents = {hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
        if summary.created != dict.fromkeys(contents, 1):
            raise HarnessFailure(
                f"stored: {summary.created.most_common(3)}; missing: {contents - set(summary.created)}"
            )
        with contextlib.closing(sqlite3.connect(self.daemon.paths.database)) as connection:
            rows = connection.execute("SELECT path, state, hex(sha256) FROM items").fetchall()
            sums = [connection.execute(query).fetchall() for query in (RECOUNT, STORED_SUMS)]
            integrity = connection.execute("PRAGMA integrity_check").fetchone()[0]
        expected = {
            (os.fsencode(file), "ready", hashlib.sha256(file.read_bytes()).hexdigest().upper()) for file in files
        }
        if set(rows) != expected or len(rows) != len(files):
            raise HarnessFailure(f"rows: {set(rows) ^ expected}")
        if sums[0] != sums[1] or integrity != "ok":
            raise HarnessFailure(f"{integrity}; counted {sums[0]}, stored {sums[1]}")
        if summary.connections_max > 4:
            raise HarnessFailure(f"{summary.connections_max} concurrent connections")
        log = "".join(file.read_text("utf-8", "replace") for file in self.daemon.paths.state.glob("*.log*"))
        if "Traceback" in self.daemon.stderr_text() + log:
            raise HarnessFailure(self.daemon.stderr_text() + log[log.index("Traceback") - 500 :][:3_000])
        self.stats.update(
            rounds=1,
            contents=len(contents),
            uploads=summary.uploads,
            conflicts=summary.conflicts.total(),
            concurrent=summary.concurrent,
            faults=summary.faults.total(),
        )


def main() -> None:
    arguments = argparse.ArgumentParser(description="Kill the daemon at random moments, and compare the records.")
    arguments.add_argument("--rounds", type=int, default=25)
    arguments.add_argument("--kills", type=int, default=40, help="in each round")
    arguments.add_argument("--seed", type=int, default=random.randrange(1, 1 << 31))
    options = arguments.parse_args()
    started, stats, failed = time.monotonic(), Counter[str](), []
    for number in range(options.rounds):
        seed = options.seed + number
        folder = Path(tempfile.mkdtemp(prefix="kills-"))
        try:
            stats += Round(folder, random.Random(seed)).run(options.kills)
        except Exception:  # noqa: BLE001 - the other rounds run all the same
            failed.append(seed)
            print(f"seed {seed} ({folder} was kept):\n{traceback.format_exc()}", flush=True)
        else:
            shutil.rmtree(folder)
    print(json.dumps({**stats, "seed": options.seed, "seconds": round(time.monotonic() - started), "failed": failed}))
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
