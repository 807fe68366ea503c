"""Upload one large file to the local server, and do the same work by hand: `python benchmarks/large.py`.

By hand is `cp`, `sha256sum` and `sync`; curl posts the file to the same server over TCP. Prints the ratios of times
measured in turn, and the peak memory of daemon and server above their memory before the file.
"""

import argparse
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from resumable import WARM_BYTES, make, memory_kb
from side_by_side import ratio, rounds, show, timed
from temp_home import home_in
from upload import add_until_stored, curl, daemon, floor, fresh, stored

more_kb: list[tuple[int, int]] = []  # memory of the daemon and of its server, in each round


def ours(source: Path, scratch: Path) -> float:
    warm = scratch / "warm"
    warm.mkdir()
    make(warm / "warm.jpg", WARM_BYTES)
    with home_in(scratch / "home") as home, daemon(home):
        add_until_stored(home, warm, 1)
        pid = home.daemon_pid()
        assert pid is not None
        library = int(subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=True).stdout)
        before = [memory_kb(each, "VmRSS") for each in (pid, library)]
        took_s = timed(lambda: add_until_stored(home, source, stored(home) + 1))
        daemon_kb, library_kb = (memory_kb(each, "VmHWM") for each in (pid, library))
        more_kb.append((daemon_kb - before[0], library_kb - before[1]))
        return took_s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bytes", type=int, default=4_000_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    contenders = {"floor": floor, "sploot": ours, "curl": curl}
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        source = scratch / "source"
        source.mkdir()
        make(source / "large.jpg", arguments.bytes)
        took = rounds(
            arguments.rounds,
            {name: partial(fresh, contender, source, scratch) for name, contender in contenders.items()},
        )
    for name, target in (("floor", "at most 1.3 x"), ("curl", "")):
        show(f"sploot's time over that of {name}", f"{ratio(took['sploot'], took[name]):.2f} x", target)
    for side, kilobytes in zip(("daemon", "library"), zip(*more_kb, strict=True), strict=True):
        show(f"peak memory of the {side} above the start", f"{max(kilobytes) / 1000:.1f} MB", "under 10 MB")


if __name__ == "__main__":
    main()
