"""Run the faults of tests/faults in any number, from the folder `tests`:

    python -m lab cuts --rounds 100     power cuts of both programs on ext4 and xfs (root)
    python -m lab states --rounds 20    the states after a power cut at every system call (strace)
    python -m lab kills --every 1       a kill at every system call, or at every Nth (strace)

`--seed N` is the first seed; each round uses the next one. Stops at the first failure and prints its seed.
"""

import argparse
import secrets
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from lab import kills, mounts, recoveries, strace
from lab.cuts import cut_the_library, cut_the_store
from lab.states import explore_the_library, explore_the_migration, explore_the_recovery, explore_the_store

EVERY = 1_000_000  # moments: more than any recording has


def cuts(options: argparse.Namespace) -> None:
    for kind in mounts.MAKE:
        if reason := mounts.why_not(kind):
            print(f"{kind}: skipped, {reason}")
            continue
        _rounds(
            f"{kind}, power cuts of the queue", partial(_cut, kind, cut_the_store), options, "acknowledgements kept"
        )
        _rounds(f"{kind}, power cuts of the library", partial(_cut, kind, cut_the_library), options, "uploads kept")


def _cut(kind: str, cut: Callable[[mounts.PowerCuts, int], int], seed: int) -> int:
    with tempfile.TemporaryDirectory() as folder, mounts.power_cuts(kind, Path(folder)) as disk:
        return cut(disk, seed)


def states(options: argparse.Namespace) -> None:
    _need_strace()
    amount = {"points_max": EVERY, "draws": 3}
    _rounds("recordings of the queue (tour)", partial(explore_the_store, "tour", **amount), options, "states")
    _rounds("recordings of the queue (busy)", partial(explore_the_store, "busy", **amount), options, "states")
    _rounds("second power cuts", partial(explore_the_recovery, crashes=5, **amount), options, "states")
    _rounds("recordings of a migration", partial(explore_the_migration, **amount), options, "states")
    _rounds("recordings of a recovery", partial(recoveries.explore, "recover", **amount), options, "states")
    _rounds("recordings of a restore", partial(recoveries.explore, "restore", **amount), options, "states")
    _rounds("recordings of the library", partial(explore_the_library, **amount), options, "states")


def kill(options: argparse.Namespace) -> None:
    _need_strace()
    for name, moments, at in (
        ("queue", kills.moments_of_the_store(), kills.kill_the_store),
        ("library", kills.moments_of_the_library(), kills.kill_the_library),
    ):
        began, killed = time.monotonic(), 0
        for moment in moments[options.seed % options.every :: options.every]:
            killed += at(moment)
        print(f"kills of the {name}: {killed} of {len(moments)} calls, {time.monotonic() - began:.0f} s", flush=True)


def _rounds(what: str, run: Callable[[int], int], options: argparse.Namespace, unit: str) -> None:
    began, total = time.monotonic(), 0
    for seed in range(options.seed, options.seed + options.rounds):
        try:
            total += run(seed)
        except AssertionError as error:
            raise SystemExit(f"{what}, --seed {seed}: {error}") from error
    print(f"{what}: {options.rounds} rounds, {total} {unit}, {time.monotonic() - began:.0f} s", flush=True)


def _need_strace() -> None:
    if reason := strace.why_not():
        raise SystemExit(reason)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["cuts", "states", "kills"])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000))
    options = parser.parse_args()
    print(f"--seed {options.seed}", flush=True)
    {"cuts": cuts, "states": states, "kills": kill}[options.what](options)


if __name__ == "__main__":
    main()
