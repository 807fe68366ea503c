"""Going back to a copy of the queue."""

import os
import subprocess
import sys
from pathlib import Path

from sploot import exits, start
from sploot.paths import absolute
from sploot.reach import connected
from sploot.text import place, safe
from splootd.config import Paths
from splootd.errors import RequestError


def restore(file: str) -> int:
    """The daemon's own program checks the copy, also when no daemon can start; the next start goes on from it."""
    paths = Paths.find(os.environ)
    checked = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-P", "-m", "splootd", "--restore", absolute(file)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        cwd="/",
        check=False,
    )
    if checked.returncode:
        said = checked.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2].removeprefix("splootd: ")
        raise RequestError("refused", said or f"{file} cannot be used", "the queue was not changed")
    start.stop(paths)
    connected(paths).close()
    name = safe(str(Path(file)))
    print(f"The queue is as it was in {name}. The one before is kept beside {place(str(paths.database))}.")
    return exits.DONE
