"""The files of the web UI, which `splootd` serves to its user and `sploot-server` to its members.

`ui/` and `library/` serve both, `daemon/` has the queue and the settings of one machine, `server/` the sign-in.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent
NAME_PATTERN = re.compile(r"[a-z]+/[a-z0-9][a-z0-9_-]*(\.[a-z0-9_-]+)*\.([a-z0-9]+)")  # no leading dot
CONTENT_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "png": "image/png",
    "webmanifest": "application/manifest+json",
}


@dataclass(frozen=True, slots=True)
class WebFile:
    """One file, its Content-Type and its ETag."""

    content: bytes
    content_type: str
    etag: str


def read_file(name: str) -> WebFile:
    """Return the file `FOLDER/NAME`. Raises FileNotFoundError for everything that is no file of the web UI."""
    match = NAME_PATTERN.fullmatch(name)
    if match is None or match[2] not in CONTENT_TYPES:
        raise FileNotFoundError(name)
    try:
        content = (ROOT / name).read_bytes()
    except IsADirectoryError:
        raise FileNotFoundError(name) from None
    return WebFile(content, CONTENT_TYPES[match[2]], f'"{hashlib.sha256(content).hexdigest()[:32]}"')
