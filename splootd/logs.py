"""Logging: JSON lines in a rotating file, readable lines on a terminal, without secrets in either."""

import io
import logging
import logging.handlers
import os
import re
import sys
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any, TextIO

import structlog

FILE_BYTES_MAX = 10_000_000
FILES_KEPT = 4
HIDDEN = "(hidden)"

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "fatal": 50}

_SECRET_KEYS = re.compile(r"token|authorization|cookie|password|secret", re.IGNORECASE)
_SECRET_TEXT = re.compile(r"(?i)(bearer\s+|__session=)[^\s;,\"']+|\beyJ[\w-]+\.[\w-]+\.[\w-]+")

EventDict = MutableMapping[str, Any]


def redact(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """Replace secrets: the values of sensitive keys, and anything that looks like a token in any text."""
    for key, value in event.items():
        if _SECRET_KEYS.search(key):
            event[key] = HIDDEN
        elif isinstance(value, str):
            event[key] = _SECRET_TEXT.sub(HIDDEN, value)
    return event


def decode_bytes(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """Decode file names, which are bytes, to printable text."""
    for key, value in event.items():
        if isinstance(value, bytes):
            event[key] = value.decode("utf-8", "backslashreplace")
    return event


_PROCESSORS: list[Any] = [
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.format_exc_info,
    decode_bytes,
    redact,
]


def configure(level: str, file: Path, terminal: TextIO | None = None) -> None:
    """Log to `file`, and to `terminal` if given. A full disk loses log lines but never stops the daemon."""
    logging.raiseExceptions = False
    handlers: list[logging.Handler] = [
        _RotatingFile(file, structlog.processors.JSONRenderer(), FILE_BYTES_MAX),
    ]
    if terminal is not None:
        stream = logging.StreamHandler(terminal)
        stream.setFormatter(_formatter(structlog.dev.ConsoleRenderer(colors=terminal.isatty())))
        handlers.append(stream)
    logging.basicConfig(handlers=handlers, level=LEVELS[level], force=True)
    for verbose in ("httpx", "httpcore", "uvicorn", "watchfiles", "aiosqlite", "asyncio"):
        logging.getLogger(verbose).setLevel(max(logging.WARNING, LEVELS[level]))
    structlog.configure(
        processors=[*_PROCESSORS, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        cache_logger_on_first_use=True,
    )


def get_logger(name: str, **bound: Any) -> Any:
    """Return a logger that adds `bound` to each line; `.bind(...)` creates child loggers."""
    return structlog.stdlib.get_logger(f"splootd.{name}", part=name, **bound)


def is_debug_enabled() -> bool:
    """Return whether lines of level debug are written: a caller can then spare their fields."""
    return logging.getLogger().isEnabledFor(logging.DEBUG)


def close() -> None:
    """Flush and close all log handlers."""
    for handler in logging.getLogger().handlers[:]:
        logging.getLogger().removeHandler(handler)
        handler.close()
    sys.stderr.flush()


def _formatter(renderer: Any) -> logging.Formatter:
    return structlog.stdlib.ProcessorFormatter(
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        foreign_pre_chain=_PROCESSORS,
    )


class _RotatingFile(logging.handlers.RotatingFileHandler):
    """Rotating log file of bounded size, readable only by the user."""

    def __init__(self, file: Path, renderer: Any, bytes_max: int) -> None:
        super().__init__(file, maxBytes=bytes_max, backupCount=FILES_KEPT, encoding="utf-8", errors="backslashreplace")
        self.setFormatter(_formatter(renderer))

    def shouldRollover(self, _record: logging.LogRecord) -> bool:  # noqa: N802 - the name is that of logging
        """Return whether the file is full. The inherited method formats each record a second time to know its size."""
        return self.stream is not None and os.fstat(self.stream.fileno()).st_size >= self.maxBytes

    def _open(self) -> Any:
        """Open the file unbuffered: a line that a full disk rejects is lost instead of failing each later write."""
        file = Path(self.baseFilename).open("ab", buffering=0)  # noqa: SIM115 - the handler closes it
        Path(self.baseFilename).chmod(0o600)
        return io.TextIOWrapper(file, encoding=self.encoding, errors=self.errors, write_through=True)
