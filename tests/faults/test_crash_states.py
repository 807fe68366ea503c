"""Every state that a power cut can leave: unsynced bytes and names lost, kept, reordered or torn.

The states are derived from a recording of all system calls of the real programs. Each is opened with the code of these
programs. `python -m lab states` tests many more.
"""

import contextlib
import random
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from lab import recoveries, states, strace
from lab.crashes import crash_states
from lab.disks import put

pytestmark = pytest.mark.skipif(bool(strace.why_not()), reason=strace.why_not())


@pytest.mark.parametrize("kind", ["tour", "busy"])
def test_every_state_after_a_power_cut_has_all_acknowledged_writes_of_the_queue(kind: str, seed: int) -> None:
    assert states.explore_the_store(kind, seed, points_max=40, draws=2) > 40


def test_a_second_power_cut_during_the_recovery_changes_nothing(seed: int) -> None:
    assert states.explore_the_recovery(seed, crashes=3, points_max=15, draws=1) > 15


def test_a_power_cut_during_a_migration_leaves_one_version_or_the_other(seed: int) -> None:
    assert states.explore_the_migration(seed, points_max=40, draws=2) > 20


@pytest.mark.parametrize("kind", ["recover", "restore"])
def test_a_power_cut_during_a_recovery_or_a_restore_loses_neither_database(kind: str, seed: int) -> None:
    assert recoveries.explore(kind, seed, points_max=40, draws=2) > 20


def test_every_state_after_a_power_cut_has_every_acknowledged_upload(seed: int) -> None:
    assert states.explore_the_library(seed, points_max=40, draws=2) > 40


STORING = """
import os, sys
root, (sync_file, sync_folder, sync_parent) = sys.argv[1], map(int, sys.argv[2])

def sync(path):
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)

os.mkdir(root + "/kept")
if sync_parent:
    sync(root)
for number in range(3):
    with open(root + "/new", "wb", buffering=0) as file:
        file.write(b"first half, ")
        file.write(b"second half")
        if sync_file:
            os.fsync(file.fileno())
    os.rename(root + "/new", f"{root}/kept/{number}")
    if sync_folder:
        sync(root + "/kept")
    os.write(1, b"%d\\n" % number)
"""


def losses(folder: Path, syncs: str) -> int:
    """Return the number of states in which an acknowledged file is missing or incomplete."""
    root = folder / syncs
    root.mkdir()
    log = folder / "log"
    subprocess.run([*strace.recording(log), sys.executable, "-c", STORING, root, syncs], check=True)
    chance = random.Random(0)
    every = crash_states(log, root, states.output_of_the_store, chance, points_max=1000, draws=5)
    lost = [
        state
        for state in every
        for number in b"".join(state.output).split()
        if state.tree.get(f"kept/{number.decode()}") != b"first half, second half"
    ]
    return len(lost)


@pytest.mark.parametrize(
    "syncs",
    [
        pytest.param("011", id="the bytes"),
        pytest.param("101", id="the name"),
        pytest.param("110", id="the folder"),
    ],
)
def test_a_missing_sync_is_detected(syncs: str, tmp_path: Path) -> None:
    """Without this the tests above prove nothing."""
    assert losses(tmp_path, syncs) > 0


def test_a_program_that_syncs_everything_passes(tmp_path: Path) -> None:
    assert losses(tmp_path, "111") == 0


WRITING = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1] + "/a.db", isolation_level=None)
connection.execute("PRAGMA journal_mode = WAL").fetchall()
connection.execute(f"PRAGMA synchronous = {sys.argv[2]}")
connection.execute("CREATE TABLE a (b)")
for number in range(10):
    connection.execute("INSERT INTO a VALUES (?)", (number,))
    os.write(1, b"%d\\n" % number)
"""


@pytest.mark.parametrize(("synchronous", "loses"), [("NORMAL", True), ("FULL", False)])
def test_sqlite_keeps_what_it_acknowledged_only_when_it_syncs_each_commit(
    synchronous: str, loses: bool, tmp_path: Path
) -> None:
    root, log = tmp_path / "root", tmp_path / "log"
    root.mkdir()
    subprocess.run([*strace.recording(log), sys.executable, "-c", WRITING, root, synchronous], check=True)
    lost = 0
    for state in crash_states(log, root, states.output_of_the_store, random.Random(0), points_max=1000, draws=1):
        with states.scratch() as folder:
            put(state.tree, folder)
            lost += not set(map(int, b"".join(state.output).split())) <= numbers_in(folder / "a.db")
    assert bool(lost) is loses


def numbers_in(file: Path) -> set[int]:
    with contextlib.closing(sqlite3.connect(file)) as connection:
        made = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
        return {number for (number,) in connection.execute("SELECT b FROM a")} if made else set()
