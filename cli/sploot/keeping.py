"""Commands about what is kept: files that were put away come back, the queue is copied and gone back to."""

import os
import subprocess
import sys
from pathlib import Path

from sploot import exits, start
from sploot.changing import tell
from sploot.paths import absolute
from sploot.reach import client, connected
from sploot.terminal import complain, print_json
from sploot.text import place, safe
from splootd.config import Paths
from splootd.errors import RequestError
from splootd.protocol import Backup, Undo, Undone
from splootd.wire import encode


def undo(ids: list[int], *, last: bool, as_json: bool) -> int:
    undone = client().ask(Undo(tuple(ids), last), Undone)
    if as_json:
        print_json(encode(undone))
    left = [each for each in undone.paths if each.outcome != "back"]
    for each in undone.paths:
        if each in left:
            complain(safe(each.detail or f"{each.path}: {each.outcome}"))
        elif not as_json:
            print(f"{place(each.path)} is back.")
    return exits.NOT_FOUND if left else exits.DONE


def backup(file: str) -> int:
    return tell(Backup(absolute(file)))


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
