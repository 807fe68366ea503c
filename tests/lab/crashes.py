"""The states that a power cut can leave after a recorded run of a program, with its output until then."""

import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from lab.disks import Disk, Tree
from lab.strace import Call, calls


@dataclass(frozen=True)
class CrashState:
    """One possible state of the disk after the call `at`, and the output of the program until then."""

    at: int
    how: str
    tree: Tree
    output: list[bytes]

    def __repr__(self) -> str:
        return f"after call {self.at}, {self.how}"


def crash_states(
    log: Path,
    root: Path,
    output_of: Callable[[Call], Iterable[bytes]],
    rng: random.Random,
    *,
    points_max: int,
    draws: int,
    before: Tree | None = None,
) -> Iterator[CrashState]:
    """Yield the states of `root` after a power cut at `points_max` moments of a recorded run, and at its end.

    `output_of` returns the output of a call. A repeated state with the same output is yielded once.
    """
    record = list(calls(log))
    moments = _moments(record, Disk(root, before or {}))
    chosen = {*rng.sample(moments, min(points_max, len(moments))), record[-1].ended}
    disk, output, seen = Disk(root, before or {}), list[bytes](), set[bytes]()
    for call in record:
        output = output + new_output if (new_output := list(output_of(call))) else output
        disk.apply(call)
        if call.ended not in chosen:
            continue
        for how, tree in disk.states(rng, draws):
            key = _fingerprint(tree, len(output))
            if key not in seen:
                seen.add(key)
                yield CrashState(call.ended, how, tree, output)


def _moments(record: list[Call], disk: Disk) -> list[int]:
    """Return the calls that changed something. Output between two of them belongs to the second."""
    return [call.ended for call in record if disk.apply(call)]


def _fingerprint(tree: Tree, output: int) -> bytes:
    digest = blake2b(b"%d" % output, digest_size=16)
    for path, content in sorted(tree.items()):
        digest.update(b"%s\0%s\0" % (path.encode(), b"folder" if content is None else b"%d" % len(content)))
        digest.update(content or b"")
    return digest.digest()
