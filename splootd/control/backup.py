"""Handler of `sploot backup`."""

import asyncio
from pathlib import Path

from splootd import protocol
from splootd.control.context import Context
from splootd.errors import RequestError


async def backup(context: Context, request: protocol.Backup) -> protocol.MessageReply:
    """Write a consistent copy of the queue and the ledger to the requested file."""
    target = Path(request.file)
    if not target.is_absolute() or "\0" in request.file:
        raise RequestError("bad_path", f"{request.file[:200]!r} is not an absolute path")
    if not await asyncio.to_thread(target.parent.is_dir):
        raise RequestError("bad_path", f"{target.parent} is not a folder", "create the folder first")
    if await asyncio.to_thread(target.is_dir):
        raise RequestError("bad_path", f"{target} is a folder", "give the path of a file in it")
    live = context.database.path
    if await asyncio.to_thread(
        lambda: target.resolve().parent == live.resolve().parent and _is_database_file(target, live)
    ):
        raise RequestError("bad_path", f"{target} belongs to the daemon's own database", "choose another file")
    await context.database.backup(target)
    return protocol.MessageReply(
        f"Backup of the queue and the ledger written to {target}. Restore: sploot restore FILE"
    )


def _is_database_file(target: Path, live: Path) -> bool:
    """Return True for the database and its `-wal` and `-shm` files, which a copy must never overwrite."""
    return target.name.startswith(live.name)
