"""System calls of a program: strace records them, and injects an error or a signal at a chosen moment."""

import functools
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.programs import TESTS

# System calls that change files or send data. `disks` rejects a recording with calls that it does not model.
CHANGING = (
    "openat,creat,pwrite64,pwritev,pwritev2,write,writev,sendto,sendmsg,fsync,fdatasync,sync_file_range,ftruncate,"
    "truncate,fallocate,copy_file_range,sendfile,splice,rename,renameat,renameat2,link,linkat,symlink,symlinkat,unlink,"
    "unlinkat,rmdir,mkdir,mkdirat,mmap"
)
DATA_BYTES_MAX = 4 << 20  # of one call; strace truncates longer data

_LINE = re.compile(r"(\d+) +(.*)\n?")
_CALL = re.compile(r"(\w+)\((.*)\) += (-?\d+|\?|0x[0-9a-f]+)(?:<[^>]*>)?(?: .*)?")
_UNFINISHED = re.compile(r"(\w+)\((.*) <unfinished \.\.\.>")
_RESUMED = re.compile(r"<\.\.\. (\w+) resumed>(.*)")
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"(\.\.\.)?')
_DESCRIPTOR = re.compile(r"(-?\d+|AT_FDCWD)<([^>]*)>")


@functools.cache
def why_not() -> str:
    """Return why strace cannot be used; empty if it can."""
    if shutil.which("strace") is None:
        return "strace is not installed (on Debian: apt-get install strace)"
    tried = subprocess.run(
        ["strace", "-f", "--seccomp-bpf", "-o", "/dev/null", "true"], capture_output=True, check=False
    )
    return f"strace cannot trace here: {tried.stderr.decode()}" if tried.returncode else ""


def recording(log: Path) -> list[str]:
    """Return the prefix of a command that records all changing system calls."""
    return [*_strace(log), "--seccomp-bpf", "-y", "-xx", "-s", str(DATA_BYTES_MAX), "-e", f"trace={CHANGING}"]


def injecting(log: Path, *injections: str) -> list[str]:
    """Return the prefix that injects faults: `fdatasync:error=EIO:when=3`. strace counts each call per thread."""
    names = ",".join(sorted({name for each in injections for name in each.split(":")[0].split(",")}))
    # Without --seccomp-bpf: with it, strace 6.1 forgets signals of calls after the first.
    return [*_strace(log), "-e", f"trace={names}", *(f"--inject={each}" for each in injections)]


def _strace(log: Path) -> list[str]:
    return ["strace", "-f", "-qq", "-e", "signal=none", "-o", str(log)]


@dataclass(frozen=True, slots=True)
class Call:
    """One finished system call. `began` and `ended` are line numbers: calls of several threads overlap."""

    name: str
    arguments: str
    result: int
    began: int
    ended: int

    @property
    def failed(self) -> bool:
        return self.result < 0

    def descriptors(self) -> list[tuple[int | None, str]]:
        """Return (number, path) of the descriptors. The number is None for the working folder."""
        found = _DESCRIPTOR.findall(_TEXT.sub("", self.arguments))
        return [(None if number == "AT_FDCWD" else int(number), _decoded(name).decode()) for number, name in found]

    def texts(self) -> list[bytes]:
        """Return the strings among the arguments: paths or data."""
        found = list(_TEXT.finditer(self.arguments))
        if any(each[2] for each in found):
            raise ValueError(f"{self.name}: strace has truncated its data")
        return [_decoded(each[1]) for each in found]

    def numbers(self) -> list[int]:
        """Return the decimal arguments, without descriptors."""
        return [int(each) for each in re.findall(r"(?<=, )-?\d+(?=,|$)", self.arguments)]


def calls(log: Path) -> Iterator[Call]:
    """Yield the calls of a recording in the order of their ends. Calls without an end are ignored."""
    begun: dict[str, tuple[int, str]] = {}
    with log.open(encoding="ascii") as lines:
        for number, line in enumerate(lines):
            thread, rest = _LINE.fullmatch(line).groups()  # type: ignore[union-attr]
            if unfinished := _UNFINISHED.fullmatch(rest):
                begun[thread] = (number, f"{unfinished[1]}({unfinished[2]}")
                continue
            began = number
            if resumed := _RESUMED.fullmatch(rest):
                began, start = begun.pop(thread)
                rest = start + resumed[2]
            call = _CALL.fullmatch(rest)
            if call and call[3] != "?":
                yield Call(call[1], call[2], int(call[3], 0), began, number)


def _decoded(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))


def killing(log: Path, moment: tuple[str, int]) -> list[str]:
    """Return the prefix that kills a command when one of its threads makes its Nth call of this name."""
    name, at = moment
    return injecting(log, f"{name}:signal=KILL:when={at}")


def run_killed(command: Sequence[str], log: Path, moment: tuple[str, int]) -> subprocess.CompletedProcess[bytes]:
    """Run a command until that moment, or to its end."""
    return subprocess.run([*killing(log, moment), *command], cwd=TESTS, capture_output=True, check=False)
