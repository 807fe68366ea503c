"""`sploot restore`: replace the queue and the ledger with a backup."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from sploot import daemon_process, exit_codes
from sploot.daemon_connect import connect_or_start
from sploot.formatting import escape_unprintable, format_path
from sploot.paths import absolute
from splootd.config import Paths
from splootd.errors import RequestError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sploot.typer_options import Annotated, Argument


def restore(file: Annotated[str, Argument(metavar="FILE")]) -> int:
    """Replace the queue and the ledger with a backup. The current ones are kept beside it."""
    paths = Paths.from_environ(os.environ)
    if not os.access(absolute(file), os.R_OK):
        missing = "cannot be read" if os.path.lexists(absolute(file)) else "does not exist"
        raise RequestError("not_found", f"{file} {missing}", "give a file that `sploot backup` has written")
    # `splootd --restore` checks and stages the backup, not the running daemon, so that this works when the daemon
    # cannot start. The daemon applies it at its next start.
    completed = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-P", "-m", "splootd", "--restore", absolute(file)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        cwd="/",
        check=False,
    )
    if completed.returncode:
        message = completed.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2].removeprefix("splootd: ")
        raise RequestError("rejected", message or f"{file} cannot be used", "the queue was not changed")
    daemon_process.stop(paths)
    connect_or_start(paths).close()
    name = escape_unprintable(str(Path(file)))
    print(f"Restored the queue from {name}. The previous one is kept beside {format_path(str(paths.database))}.")
    return exit_codes.DONE


COMMANDS = {"restore": restore}
