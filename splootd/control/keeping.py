"""Answers about what is kept: whether the library still has a file, where files were put, and copies of the queue."""

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path

from splootd import protocol
from splootd.control.parts import Parts
from splootd.core.after import After
from splootd.core.item import Item, State
from splootd.errors import Exhausted, RequestError, ServerError
from splootd.store.moves import Move

ASK_S = 5.0  # for the library's answer to a person who waits
IDS_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Kept:
    """What is known of a searchable item: since when it is gone from the library, and where its file was put."""

    removed_at: float | None = None
    is_sure: bool = True  # the library said so just now
    move: Move | None = None


async def kept(parts: Parts, item: Item) -> Kept:
    """Ask the library, by hash, whether it still has the item; the ledger learns what it says."""
    if item.state is not State.READY or item.sha256 is None:
        return Kept()
    move, now = await parts.moves.of_item(item.id), parts.clock.now()
    known = await parts.ledger.content(item.sha256)
    removed_at = known.removed_at if known else None
    try:
        async with asyncio.timeout(ASK_S):
            there = await parts.server.check(item.sha256, aside=True)
    except (ServerError, Exhausted, TimeoutError):
        return Kept(removed_at, is_sure=False, move=move)
    if there is not None:
        await parts.ledger.seen(item.sha256, now=now)
        return Kept(None, move=move)
    await parts.ledger.removed(item.sha256, now=now)
    return Kept(removed_at or now, move=move)


async def check_wish(word: str) -> None:
    """RequestError unless `word` says what is to become of files, and that can be done."""
    try:
        after = After.of(os.fsencode(word))
    except ValueError:
        title = f"after sending nothing can be done that is called {word[:200]!r}"
        raise RequestError("bad_after", title, "there are: keep, trash, move:FOLDER") from None
    if after is not None and after.folder is not None:
        folder = os.fsdecode(after.folder)
        if not await asyncio.to_thread(lambda: os.access(folder, os.W_OK | os.X_OK) and Path(folder).is_dir()):
            raise RequestError("bad_after", f"{folder[:4096]} is not a folder that can be written to", "make it first")


async def undo(parts: Parts, request: protocol.Undo) -> protocol.Undone:
    """Bring back files; of those that do not come back the reason is told."""
    if not request.ids and not request.last:
        raise RequestError("nothing_named", "say what to bring back", "name ids, or the last one: sploot undo --last")
    if len(request.ids) > IDS_MAX:
        raise RequestError("too_many", f"one request brings back at most {IDS_MAX} files")
    if request.last:
        return protocol.Undone((await _brought_back(parts, None),))
    outcomes = []
    for item_id in request.ids:
        try:
            outcomes.append(await _brought_back(parts, item_id))
        except RequestError as error:
            outcomes.append(protocol.PathOutcome(str(item_id), error.code, error.title, item_id))
    return protocol.Undone(tuple(outcomes))


async def _brought_back(parts: Parts, item_id: int | None) -> protocol.PathOutcome:
    found, path = await parts.aftercare.undo(item_id)
    return protocol.PathOutcome(os.fsdecode(path), "back", None, found)


async def backup(parts: Parts, request: protocol.Backup) -> protocol.Done:
    """A copy of the queue and the ledger as they are now."""
    target = Path(request.file)
    if not target.is_absolute() or "\0" in request.file:
        raise RequestError("bad_path", f"{request.file[:200]!r} is not an absolute path")
    if not await asyncio.to_thread(target.parent.is_dir):
        raise RequestError("bad_path", f"{target.parent} is not a folder", "make it first")
    if await asyncio.to_thread(target.is_dir):
        raise RequestError("bad_path", f"{target} is a folder", "name a file in it")
    live = parts.database.path
    if await asyncio.to_thread(lambda: target.resolve().parent == live.resolve().parent and _is_ours(target, live)):
        raise RequestError("bad_path", f"{target} is where the daemon keeps the queue itself", "name another file")
    await parts.database.backup(target)
    return protocol.Done(f"The queue and the ledger are in {target}; to go back to them: sploot restore FILE")


def _is_ours(target: Path, live: Path) -> bool:
    return target.name.startswith(live.name)
