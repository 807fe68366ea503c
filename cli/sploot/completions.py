"""Values that the shell completes. They are read from the running daemon, which is never started for them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

from sploot.progress import FAILURE_REASONS, SKIP_REASONS
from sploot.render import STATE_LABELS
from splootd.config import CONFIG_KEYS, LOG_LEVELS, Paths
from splootd.protocol import Folders, GetFolders


def complete_from(words: Iterable[str]) -> Callable[[str], list[str]]:
    """Return a completion with these words."""

    def complete(incomplete: str) -> list[str]:
        return [word for word in words if word.startswith(incomplete)]

    return complete


complete_state = complete_from(STATE_LABELS)
complete_priority = complete_from(("urgent", "normal", "background"))
complete_sort = complete_from(("best", "newest", "oldest"))
complete_level = complete_from(LOG_LEVELS)
complete_error_code = complete_from((*SKIP_REASONS, *FAILURE_REASONS, "removed", "file_missing"))
complete_key = complete_from(CONFIG_KEYS)


def complete_folder(incomplete: str) -> list[str]:
    """Complete a watched folder; without a running daemon there is none."""
    from sploot.client import Client  # noqa: PLC0415 - few completions need the daemon
    from sploot.connection import ConnectionLostError  # noqa: PLC0415 - as above
    from sploot.daemon_connect import connect_if_any  # noqa: PLC0415 - as above
    from splootd.errors import SplootError  # noqa: PLC0415 - as above

    connection = connect_if_any(Paths.from_environ(os.environ))
    if connection is None:
        return []
    try:
        folders = Client(lambda: connection, lambda _: None).request(GetFolders(), Folders).folders
    except (SplootError, ConnectionLostError):
        return []
    return complete_from(folder.path for folder in folders)(incomplete)
