"""Prints to a terminal or a pipe."""

from __future__ import annotations

import json
import os
import sys

from sploot.formatting import escape_unprintable
from sploot.render import Style

TYPE_CHECKING = False
if TYPE_CHECKING:  # see `render.py`
    from typing import Any, TextIO


def get_style(stream: TextIO | None = None) -> Style:
    """Return a style with colours if the stream is a terminal that supports them and NO_COLOR is not set."""
    stream = stream or sys.stdout
    return Style(is_on=supports_ansi(stream) and not os.environ.get("NO_COLOR"))


def supports_ansi(stream: TextIO) -> bool:
    """Return True if the stream is a terminal that interprets escape sequences."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def get_columns(stream: TextIO | None = None) -> int | None:
    """Return the width of the terminal that `stream` writes to; None for a pipe or a file, which has no width."""
    try:
        columns = os.get_terminal_size((stream or sys.stdout).fileno()).columns
    except (OSError, ValueError):
        return None
    return columns or None  # 0: the terminal does not know its size


def print_json(value: Any) -> None:
    """Print one JSON value on one line, in ASCII: a file name that is not UTF-8 becomes escaped surrogates."""
    print(json.dumps(value))


def print_stderr(message: str) -> None:
    sys.stdout.flush()  # keeps both streams in order when they share a terminal
    print(message, file=sys.stderr)


def print_error(title: str, hint: str | None) -> None:
    """Print what happened and what to do."""
    paint = get_style(sys.stderr)
    print_stderr(f"{paint.bad('error:')} {escape_unprintable(title)}")
    if hint:
        print_stderr(f"{paint.bold('hint:')} {escape_unprintable(hint)}")
