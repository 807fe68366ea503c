"""A full disk of the queue, as `sploot status` and `sploot why --slow` report it; `sploot add` meets the same error."""

import shlex

from splootd.control.context import Context
from splootd.errors import StoreFull
from splootd.protocol import ActionRequired

SPACE_CHECKED_AT = "space_checked_at"


async def find_full_disk(context: Context) -> ActionRequired | None:
    """Return the action that a full disk requires, if the last write met one and a small write fails still."""
    error = context.database.full_error
    if error is None:
        return None
    now = context.clock.now()
    try:
        await context.settings_store.set(SPACE_CHECKED_AT, str(now), now=now)
    except StoreFull:
        folder = shlex.quote(str(context.database.path.parent))
        what = "; ".join(filter(None, (error.title.rstrip("."), error.hint))).rstrip(".")
        return ActionRequired(what, 1, f"df -h {folder}")
    return None
