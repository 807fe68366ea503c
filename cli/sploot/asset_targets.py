"""Names pictures of the library: by the number of a match of the last search, by a local path, or by an asset id."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path

from sploot.formatting import format_count
from sploot.paths import absolute
from splootd.config import Paths
from splootd.errors import RequestError

FILE_NAME = "last-search.json"
ASSET_ID_CHARS_MIN = 16  # shorter words are meant as file names


def save_matches(asset_ids: Iterable[str]) -> None:
    """Remember the matches of a search, in their order. A failure only disables numbers as targets."""
    file = _file()
    temporary = file.with_name(f"{FILE_NAME}.{os.getpid()}")
    try:
        temporary.write_text(json.dumps(list(asset_ids)))
        temporary.replace(file)
    except OSError:
        temporary.unlink(missing_ok=True)


def parse_asset_target(argument: str) -> str:
    """Return an asset id or an absolute path. RequestError for a number that the last search has no match for."""
    is_file = os.path.lexists(os.path.expanduser(argument))  # noqa: PTH111 - pathlib fails for an unknown user
    if argument.isascii() and argument.isdecimal() and not is_file:
        return _find_match(int(argument[:9]))
    is_asset_id = len(argument) >= ASSET_ID_CHARS_MIN and argument.isascii() and argument.isalnum()
    return argument if is_asset_id and not is_file else absolute(argument)


def _find_match(nth: int) -> str:
    try:
        asset_ids = json.loads(_file().read_text())
    except (OSError, ValueError):
        hint = "search first (sploot search TEXT), or name a file"
        raise RequestError("not_found", f"there was no search yet, so there is no match {nth}", hint) from None
    if not 1 <= nth <= len(asset_ids):
        found = format_count(len(asset_ids), "match", "matches")
        raise RequestError("not_found", f"there is no match {nth}", f"the last search found {found}")
    return str(asset_ids[nth - 1])


def _file() -> Path:
    return Paths.from_environ(os.environ).state / FILE_NAME
