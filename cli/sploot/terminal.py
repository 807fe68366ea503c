"""Where output goes: a person at a terminal, or a program that reads a pipe."""

from __future__ import annotations

import json
import os
import sys

from sploot.render import Style
from sploot.text import safe

TYPE_CHECKING = False
if TYPE_CHECKING:  # see `render.py`
    from typing import Any, TextIO


def style(stream: TextIO | None = None) -> Style:
    """Colours on a terminal, unless NO_COLOR is set or the terminal has none."""
    stream = stream or sys.stdout
    return Style(is_on=obeys(stream) and not os.environ.get("NO_COLOR"))


def obeys(stream: TextIO) -> bool:
    """Whether it is a terminal that knows escape sequences, and does not show them."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def print_json(value: Any) -> None:
    """One JSON value on one line, in ASCII: a file name that is not UTF-8 shows as escaped surrogates."""
    print(json.dumps(value))


def complain(sentence: str) -> None:
    sys.stdout.flush()  # so that both appear in the order in which they were said
    print(sentence, file=sys.stderr)


def tell_error(title: str, hint: str | None) -> None:
    """An error as people meet it: what happened, and what to do."""
    paint = style(sys.stderr)
    complain(f"{paint.bad('error:')} {safe(title)}")
    if hint:
        complain(f"{paint.bold('hint:')} {safe(hint)}")
