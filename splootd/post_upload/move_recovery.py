"""Determine from the disk how far a move got, and record it in the journal.

The journal entry is committed before the file is touched, so after a crash it says only that a move was intended. The
disk has the rest: `safe_move.move_file` leaves the file under its old name, its new name, or both.
"""

import asyncio

from splootd.post_upload.safe_move import is_version_at, remove_info_file, to_path
from splootd.store.move_journal import Move, MoveJournal, MoveState


async def record_state(moves: MoveJournal, move: Move, *, now: float) -> MoveState:
    """Finish the journal entry of a move with the state that the disk shows; return the state."""
    state = await asyncio.to_thread(detect_state, move)
    await moves.finish(move, state, now=now)
    return state


def detect_state(move: Move) -> MoveState:
    """Return where the file is. If it has both names, undo the interrupted move by removing the newer one."""
    source, target = to_path(move.source), to_path(move.target)
    is_at_source, is_at_target = is_version_at(source, move.version), is_version_at(target, move.version)
    # Both names are hard links to one inode, so removing either keeps the content. A file with the same version but
    # another inode would not pass `is_version_at`.
    if is_at_source and is_at_target and move.state is MoveState.MOVING:
        target.unlink()
        is_at_target = False
    elif is_at_source and is_at_target:
        source.unlink()
        is_at_source = False
    if is_at_target:
        return MoveState.MOVED
    if move.info_path is not None:
        remove_info_file(to_path(move.info_path), target)
    return MoveState.RESTORED if is_at_source else MoveState.LOST
