"""What a recorded run of a program may leave on the disk when the power goes, and what it had promised by then."""

import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from lab.disks import Disk, Tree
from lab.strace import Call, calls


@dataclass(frozen=True)
class CrashState:
    """One thing the disk may hold after the call `at`, and what the program had told others by then."""

    at: int
    how: str
    tree: Tree
    told: list[bytes]

    def __repr__(self) -> str:
        return f"after call {self.at}, {self.how}"


def crash_states(
    log: Path,
    root: Path,
    heard: Callable[[Call], Iterable[bytes]],
    rng: random.Random,
    *,
    points_max: int,
    draws: int,
    before: Tree | None = None,
) -> Iterator[CrashState]:
    """What `root` may hold after a power cut at any of `points_max` moments of a recorded run, and at its end.

    `heard` says what a call tells the outside. A state that comes again, with nothing more told, is given once.
    """
    record = list(calls(log))
    moments = _moments(record, Disk(root, before or {}))
    chosen = {*rng.sample(moments, min(points_max, len(moments))), record[-1].ended}
    disk, told, seen = Disk(root, before or {}), list[bytes](), set[bytes]()
    for call in record:
        told = told + news if (news := list(heard(call))) else told
        disk.apply(call)
        if call.ended not in chosen:
            continue
        for how, tree in disk.states(rng, draws):
            key = _fingerprint(tree, len(told))
            if key not in seen:
                seen.add(key)
                yield CrashState(call.ended, how, tree, told)


def _moments(record: list[Call], disk: Disk) -> list[int]:
    """The calls that changed something: what is told between two of them is known at the second."""
    return [call.ended for call in record if disk.apply(call)]


def _fingerprint(tree: Tree, told: int) -> bytes:
    digest = blake2b(b"%d" % told, digest_size=16)
    for path, content in sorted(tree.items()):
        digest.update(b"%s\0%s\0" % (path.encode(), b"folder" if content is None else b"%d" % len(content)))
        digest.update(content or b"")
    return digest.digest()
