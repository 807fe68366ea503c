"""A disk that is full, or fails: a clear sentence, nothing damaged, and the work goes on by itself when it can.

Errors are put into the programs' calls by strace, which needs no root; a disk that is really full needs a mount.
"""

import asyncio
import os
import random
import resource
import select
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab import mounts, strace, uploads
from lab.library_truth import check_library
from lab.programs import TESTS, store_work
from lab.store_truth import Promises

import splootd

ITEMS = 60
MIGRATIONS = Path(splootd.__file__).parent / "store" / "migrations"
EX_IOERR = 74
SYNCS_TO_MAKE = 8 + len(list(MIGRATIONS.glob("*.sql")))  # a database: one for each of its versions, and for its names
WAIT_S_MAX = 30.0
FULL = "The disk of the library is full; nothing was stored"
CANNOT = "The library could not do this; its log says why"

tracing = pytest.mark.skipif(bool(strace.why_not()), reason=strace.why_not())


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[mounts.SmallDisk]:
    if reason := mounts.why_not("tmpfs"):
        pytest.skip(reason)
    with mounts.small_disk(tmp_path / "disk", 512 << 10) as disk:
        yield disk


def work_disturbed(folder: Path, seed: int, *injections: str) -> tuple[int, bytes]:
    """Run the store's work to its end. Returns its exit code and what it told."""
    folder.mkdir()
    prefix = strace.disturbing(folder.with_name("strace.log"), *injections)
    command = [*prefix, *store_work("busy", folder, seed, ITEMS)]
    done = subprocess.run(command, cwd=TESTS, capture_output=True, timeout=WAIT_S_MAX, check=False)
    assert b"Traceback" not in done.stderr, done.stderr.decode()
    return done.returncode, done.stdout


@tracing
def test_a_sync_that_fails_now_and_then_neither_loses_nor_ends_anything(tmp_path: Path, seed: int) -> None:
    """Each thread counts for itself, so every connection that is opened anew meets its own errors."""
    first = SYNCS_TO_MAKE + random.Random(seed).randint(1, 7)
    code, told = work_disturbed(tmp_path / "state", seed, f"fdatasync:error=EIO:when={first}+6")
    assert code == 0
    assert b"\nfailed " in told
    assert b"could not be read or written (disk I/O error)" in told
    assert told.endswith(b"closed\n")
    asyncio.run(Promises.of(told).check(tmp_path / "state"))


@tracing
@pytest.mark.parametrize("at", [1, 3, 6])
def test_a_sync_that_fails_while_the_database_is_made_ends_with_a_sentence(at: int, tmp_path: Path) -> None:
    """The next start finds what is left, and goes on from there."""
    code, told = work_disturbed(tmp_path / "state", 0, f"fdatasync:error=EIO:when={at}+")
    assert code == EX_IOERR
    assert b"could not be read or written (disk I/O error)" in told.splitlines()[-1]
    asyncio.run(Promises().check(tmp_path / "state"))


@tracing
def test_writes_without_room_are_told_as_a_full_disk_and_repeated(tmp_path: Path, seed: int) -> None:
    first = random.Random(seed).randint(300, 600)  # after the making of the database
    code, told = work_disturbed(tmp_path / "state", seed, f"pwrite64:error=ENOSPC:when={first}..{first + 20}")
    assert code == 0
    assert b"is full: nothing was written" in told
    assert told.endswith(b"closed\n")
    asyncio.run(Promises.of(told).check(tmp_path / "state"))


@pytest.mark.root
def test_the_queue_goes_on_by_itself_when_a_full_disk_has_room_again(small_disk: mounts.SmallDisk, seed: int) -> None:
    folder = small_disk.root / "state"
    folder.mkdir()
    with subprocess.Popen(store_work("busy", folder, seed, 2_000), cwd=TESTS, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        told = read_until(process.stdout.fileno(), b"\nfull ")
        small_disk.resize(64 << 20)
        told += process.stdout.read()
    assert process.returncode == 0
    assert told.endswith(b"closed\n")
    promises = Promises.of(told)
    assert len(promises.offered) == 2_000
    asyncio.run(promises.check(folder))


def test_a_store_that_may_not_grow_ends_with_a_sentence_and_goes_on_when_it_may(tmp_path: Path, seed: int) -> None:
    """A quota by the shell's `ulimit -f`: no I/O is possible beyond it."""
    folder = tmp_path / "state"
    folder.mkdir()
    with subprocess.Popen(store_work("busy", folder, seed), cwd=TESTS, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        told = read_until(process.stdout.fileno(), b"\nready ")
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (200 << 10, 200 << 10))
        told += process.stdout.read()
    assert process.returncode == EX_IOERR
    assert b"could not be read or written" in told.splitlines()[-1]
    asyncio.run(Promises.of(told).check(folder))


def read_until(descriptor: int, word: bytes) -> bytes:
    """What a program tells, until it has said that."""
    told = b""
    while word not in told:
        assert select.select([descriptor], [], [], WAIT_S_MAX)[0], f"{word!r} never comes"
        piece = os.read(descriptor, 1 << 16)
        assert piece, f"{word!r} never came: {told[-300:]!r}"
        told += piece
    return told


@pytest.mark.root
def test_the_library_says_that_its_disk_is_full_and_goes_on_when_it_has_room(
    small_disk: mounts.SmallDisk, seed: int, tmp_path: Path
) -> None:
    data, going = small_disk.root / "library", uploads.Uploads(seed)
    with uploads.serving(data, tmp_path / "socket"), going.going_on(tmp_path / "socket", 3):
        status, answer = going.wait_for_refusal(WAIT_S_MAX)
        assert (status, answer["error"]) == (507, FULL)
        small_disk.resize(256 << 20)
        going.wait_for(len(going.acknowledged) + 30, WAIT_S_MAX)
    assert {(status, answer["error"]) for status, answer in going.refused} == {(507, FULL)}
    asyncio.run(check_library(data, going.acknowledged))


@tracing
@pytest.mark.parametrize(
    ("injection", "expected"),
    [
        pytest.param("fsync:error=EIO:when=4", (500, CANNOT), id="the sync of a picture fails"),
        pytest.param("fsync:error=ENOSPC:when=4", (507, FULL), id="no room for a picture"),
        pytest.param("fdatasync:error=EIO:when=20", (500, CANNOT), id="the sync of the database fails"),
        pytest.param("pwrite64:error=ENOSPC:when=160..170", (507, FULL), id="no room for the database"),
        pytest.param("rename:error=EIO:when=2", (500, CANNOT), id="a picture cannot be named"),
        pytest.param("mkdir:error=ENOSPC:when=6", (507, FULL), id="no room for a folder"),
    ],
)
def test_the_library_acknowledges_nothing_that_an_error_kept_from_the_disk(
    injection: str, expected: tuple[int, str], seed: int, tmp_path: Path
) -> None:
    data, socket_path, going = tmp_path / "library", tmp_path / "socket", uploads.Uploads(seed)
    prefix = strace.disturbing(tmp_path / "strace.log", injection)
    with uploads.serving(data, socket_path, prefix=prefix), going.going_on(socket_path, 2):
        status, answer = going.wait_for_refusal(WAIT_S_MAX)
        assert (status, answer["error"]) == expected
        going.wait_for(len(going.acknowledged) + 20, WAIT_S_MAX)
    asyncio.run(check_library(data, going.acknowledged))


def test_a_library_that_may_not_grow_refuses_and_goes_on_when_it_may(seed: int, tmp_path: Path) -> None:
    data, socket_path, going = tmp_path / "library", tmp_path / "socket", uploads.Uploads(seed)
    _, unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    with uploads.serving(data, socket_path) as server, going.going_on(socket_path, 2):
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (100 << 10, unlimited))
        status, answer = going.wait_for_refusal(WAIT_S_MAX)
        assert status in (500, 507)
        assert answer["error"]
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (unlimited, unlimited))
        going.wait_for(len(going.acknowledged) + 20, WAIT_S_MAX)
    asyncio.run(check_library(data, going.acknowledged))
