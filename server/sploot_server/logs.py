"""structlog set-up of the server: one JSON object per line."""

import contextlib
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import structlog

from sploot_server.config import ConfigError

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


@contextlib.contextmanager
def configure_logging(path: Path | None, level: str) -> Iterator[None]:
    """Write structlog and standard library logs to `path` or to standard error. Raise ConfigError."""
    try:
        stream = sys.stderr if path is None else path.open("a", encoding="utf-8", buffering=1)
    except OSError as error:
        raise ConfigError(f"--log {path} cannot be written: {error.strerror}.") from error
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.PrintLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    logging.basicConfig(handlers=[handler], level=max(LEVELS[level], logging.WARNING), force=True)
    try:
        yield
    finally:
        if stream is not sys.stderr:
            stream.close()
