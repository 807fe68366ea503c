"""A full or failing disk: a clear message, no damage, and automatic continuation when the disk works again.

strace injects errors into the system calls of the programs, which needs no root. A full file system needs a mount.
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
SYNCS_AT_CREATION = 8 + len(list(MIGRATIONS.glob("*.sql")))  # one for each migration, the rest for the file names
WAIT_S_MAX = 30.0
FULL = "The disk of the library is full; the file was not stored"
INTERNAL_ERROR = "Internal server error; see the log of the server"

tracing = pytest.mark.skipif(bool(strace.why_not()), reason=strace.why_not())


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[mounts.SmallDisk]:
    if reason := mounts.why_not("tmpfs"):
        pytest.skip(reason)
    with mounts.small_disk(tmp_path / "disk", 512 << 10) as disk:
        yield disk


def run_with_errors(folder: Path, seed: int, *injections: str) -> tuple[int, bytes]:
    """Run the work of the store to its end. Returns its exit code and its output."""
    folder.mkdir()
    prefix = strace.injecting(folder.with_name("strace.log"), *injections)
    command = [*prefix, *store_work("busy", folder, seed, ITEMS)]
    done = subprocess.run(command, cwd=TESTS, capture_output=True, timeout=WAIT_S_MAX, check=False)
    assert b"Traceback" not in done.stderr, done.stderr.decode()
    return done.returncode, done.stdout


@tracing
def test_occasional_sync_errors_lose_nothing_and_end_nothing(tmp_path: Path, seed: int) -> None:
    """strace counts per thread, so every reopened connection has its own errors."""
    first = SYNCS_AT_CREATION + random.Random(seed).randint(1, 7)
    code, output = run_with_errors(tmp_path / "state", seed, f"fdatasync:error=EIO:when={first}+6")
    assert code == 0
    assert b"\nfailed " in output
    assert b"could not be read or written (disk I/O error)" in output
    assert output.endswith(b"closed\n")
    asyncio.run(Promises.of(output).check(tmp_path / "state"))


@tracing
@pytest.mark.parametrize("at", [1, 3, 6])
def test_a_sync_error_during_the_creation_of_the_database_ends_with_a_message(at: int, tmp_path: Path) -> None:
    """The next start continues with the files that are left."""
    code, output = run_with_errors(tmp_path / "state", 0, f"fdatasync:error=EIO:when={at}+")
    assert code == EX_IOERR
    assert b"could not be read or written (disk I/O error)" in output.splitlines()[-1]
    asyncio.run(Promises().check(tmp_path / "state"))


@tracing
def test_writes_without_room_are_reported_as_a_full_disk_and_repeated(tmp_path: Path, seed: int) -> None:
    first = random.Random(seed).randint(300, 600)  # after the creation of the database
    code, output = run_with_errors(tmp_path / "state", seed, f"pwrite64:error=ENOSPC:when={first}..{first + 20}")
    assert code == 0
    assert b"is full: nothing was written" in output
    assert output.endswith(b"closed\n")
    asyncio.run(Promises.of(output).check(tmp_path / "state"))


@pytest.mark.root
def test_the_queue_continues_when_a_full_disk_has_room_again(small_disk: mounts.SmallDisk, seed: int) -> None:
    folder = small_disk.root / "state"
    folder.mkdir()
    with subprocess.Popen(store_work("busy", folder, seed, 2_000), cwd=TESTS, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        output = read_until(process.stdout.fileno(), b"\nfull ")
        small_disk.resize(64 << 20)
        output += process.stdout.read()
    assert process.returncode == 0
    assert output.endswith(b"closed\n")
    promises = Promises.of(output)
    assert len(promises.enqueued) == 2_000
    asyncio.run(promises.check(folder))


def test_a_store_at_its_size_limit_ends_with_a_message_and_continues_without_the_limit(
    tmp_path: Path, seed: int
) -> None:
    """A limit like `ulimit -f` of the shell: every write beyond it fails."""
    folder = tmp_path / "state"
    folder.mkdir()
    with subprocess.Popen(store_work("busy", folder, seed), cwd=TESTS, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        output = read_until(process.stdout.fileno(), b"\nready ")
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (200 << 10, 200 << 10))
        output += process.stdout.read()
    assert process.returncode == EX_IOERR
    assert b"could not be read or written" in output.splitlines()[-1]
    asyncio.run(Promises.of(output).check(folder))


def read_until(descriptor: int, word: bytes) -> bytes:
    """Read the output of a program until it contains `word`."""
    output = b""
    while word not in output:
        assert select.select([descriptor], [], [], WAIT_S_MAX)[0], f"timeout: no {word!r} in the output"
        piece = os.read(descriptor, 1 << 16)
        assert piece, f"the output ended without {word!r}: {output[-300:]!r}"
        output += piece
    return output


@pytest.mark.root
def test_the_library_reports_a_full_disk_and_continues_when_it_has_room(
    small_disk: mounts.SmallDisk, seed: int, tmp_path: Path
) -> None:
    data, uploader = small_disk.root / "library", uploads.Uploads(seed)
    with uploads.serving(data, tmp_path / "socket"), uploader.running(tmp_path / "socket", 3):
        status, answer = uploader.wait_for_rejection(WAIT_S_MAX)
        assert (status, answer["error"]) == (507, FULL)
        small_disk.resize(256 << 20)
        uploader.wait_for(len(uploader.acknowledged) + 30, WAIT_S_MAX)
    assert {(status, answer["error"]) for status, answer in uploader.rejected} == {(507, FULL)}
    asyncio.run(check_library(data, uploader.acknowledged))


@tracing
@pytest.mark.parametrize(
    ("injection", "expected"),
    [
        pytest.param("fsync:error=EIO:when=4", (500, INTERNAL_ERROR), id="the sync of a picture fails"),
        pytest.param("fsync:error=ENOSPC:when=4", (507, FULL), id="no room for a picture"),
        pytest.param("fdatasync:error=EIO:when=20", (500, INTERNAL_ERROR), id="the sync of the database fails"),
        pytest.param("pwrite64:error=ENOSPC:when=160..170", (507, FULL), id="no room for the database"),
        pytest.param("rename:error=EIO:when=2", (500, INTERNAL_ERROR), id="a picture cannot be named"),
        pytest.param("mkdir:error=ENOSPC:when=6", (507, FULL), id="no room for a folder"),
    ],
)
def test_the_library_acknowledges_nothing_that_is_not_on_the_disk(
    injection: str, expected: tuple[int, str], seed: int, tmp_path: Path
) -> None:
    data, socket_path, uploader = tmp_path / "library", tmp_path / "socket", uploads.Uploads(seed)
    prefix = strace.injecting(tmp_path / "strace.log", injection)
    with uploads.serving(data, socket_path, prefix=prefix), uploader.running(socket_path, 2):
        status, answer = uploader.wait_for_rejection(WAIT_S_MAX)
        assert (status, answer["error"]) == expected
        uploader.wait_for(len(uploader.acknowledged) + 20, WAIT_S_MAX)
    asyncio.run(check_library(data, uploader.acknowledged))


def test_a_library_at_its_size_limit_rejects_uploads_and_continues_without_the_limit(seed: int, tmp_path: Path) -> None:
    data, socket_path, uploader = tmp_path / "library", tmp_path / "socket", uploads.Uploads(seed)
    _, unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    with uploads.serving(data, socket_path) as server, uploader.running(socket_path, 2):
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (100 << 10, unlimited))
        status, answer = uploader.wait_for_rejection(WAIT_S_MAX)
        assert status in (500, 507)
        assert answer["error"]
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (unlimited, unlimited))
        uploader.wait_for(len(uploader.acknowledged) + 20, WAIT_S_MAX)
    asyncio.run(check_library(data, uploader.acknowledged))
