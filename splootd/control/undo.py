"""Handler of `sploot undo`."""

import os

from splootd import protocol
from splootd.control.context import Context
from splootd.errors import RequestError

UNDO_IDS_MAX = 10_000


async def undo(context: Context, request: protocol.Undo) -> protocol.UndoReply:
    """Restore moved files; a file that cannot be restored gets its error code as outcome."""
    if not request.ids and not request.last:
        raise RequestError("missing_argument", "no file to restore was given", "give ids, or: sploot undo --last")
    if len(request.ids) > UNDO_IDS_MAX:
        raise RequestError("too_many", f"one request restores at most {UNDO_IDS_MAX} files")
    if request.last:
        return protocol.UndoReply((await _undo_one(context, None),))
    outcomes = []
    for item_id in request.ids:
        try:
            outcomes.append(await _undo_one(context, item_id))
        except RequestError as error:
            outcomes.append(protocol.PathOutcome(str(item_id), error.code, error.title, item_id))
    return protocol.UndoReply(tuple(outcomes))


async def _undo_one(context: Context, item_id: int | None) -> protocol.PathOutcome:
    restored_id, path = await context.post_upload.undo(item_id)
    return protocol.PathOutcome(os.fsdecode(path), "restored", None, restored_id)
