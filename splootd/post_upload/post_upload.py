"""Apply the post-upload action to uploaded files: move them to the trash or to a folder.

No step may be reordered: hash the file again and compare it with what was uploaded, check that the library still has
it, commit the move to the journal, and only then touch the file. After a crash, `move_recovery` determines from the
disk how far the move got.
"""

import asyncio
import errno
import os

from splootd.clock import Clock
from splootd.errors import ResourceExhausted, ServerError, StoreFull
from splootd.event_bus import WakeSignals
from splootd.logs import get_logger
from splootd.post_upload.move_recovery import record_state
from splootd.post_upload.safe_move import (
    has_single_link,
    hash_file,
    is_version_at,
    move_file,
    to_path,
    write_info_file,
)
from splootd.post_upload.trash import MoveTarget, Trash, find_free_path
from splootd.post_upload.undo import MoveUndo
from splootd.remote.client import SplootClient
from splootd.store.ledger import Ledger
from splootd.store.move_journal import Move, MoveJournal, MoveState, PendingAction
from splootd.text import printable
from splootd.upload.admission import AdmissionController

PENDING_ACTIONS_MAX = 100  # per query
MIN_INTERVAL_S = 1.0  # between two rounds
RETRY_DELAY_S = 30.0
MISSING_RECHECK_S = 60.0
MISSING_GRACE_S = 86_400.0  # keep the action of a missing file this long: a scan may find it renamed


class _KeepFile(Exception):
    """The file stays in place permanently; the message gives the cause."""


class _RetryLater(Exception):
    """The action cannot be applied now, but may be later; the message gives the cause."""


class PostUploadProcessor:
    """Applies post-upload actions, one file at a time, and undoes them."""

    def __init__(
        self,
        moves: MoveJournal,
        ledger: Ledger,
        client: SplootClient,
        admission: AdmissionController,
        *,
        clock: Clock,
        wake_signals: WakeSignals,
        trash: Trash,
    ) -> None:
        self._moves = moves
        self._ledger = ledger
        self._client = client
        self._admission = admission
        self._clock = clock
        self._wake_signals = wake_signals
        self._trash = trash
        self._undo = MoveUndo(moves, clock)
        self._lock = asyncio.Lock()
        self._log = get_logger("post_upload")

    async def run(self) -> None:
        """Recover interrupted moves, then apply due actions until cancelled."""
        is_recovered = False
        while True:
            snapshot = self._wake_signals.events.snapshot()
            try:
                if not is_recovered:
                    await self.recover()
                    is_recovered = True
                has_deferred = await self.run_once()
            except (ServerError, ResourceExhausted) as error:
                self._admission.control_failed(error)
                await asyncio.sleep(RETRY_DELAY_S)
            except (StoreFull, OSError) as error:
                self._log.warning("post-upload actions interrupted, retrying", error=str(error))
                await asyncio.sleep(RETRY_DELAY_S)
            else:
                await self._wake_signals.events.wait(snapshot, MISSING_RECHECK_S if has_deferred else None)
                await asyncio.sleep(MIN_INTERVAL_S)

    async def run_once(self) -> bool:
        """Apply all due actions; return whether some were postponed.

        Raise ServerError, ResourceExhausted or StoreFull.
        """
        after_id, has_deferred = 0, False
        while actions := await self._moves.pending_actions(after_id=after_id, limit=PENDING_ACTIONS_MAX):
            for action in actions:
                await self._admission.wait_until_reachable()
                try:
                    async with self._lock:
                        await self._apply_action(action)
                except _RetryLater as error:
                    self._log.info("move postponed", path=action.item.path, error_message=str(error))
                    has_deferred = True
                except _KeepFile as error:
                    self._log.info("file left in place", path=action.item.path, error_message=str(error))
                    await self._moves.cancel_action(action.item.id, error_message=str(error), now=self._clock.now())
            after_id = actions[-1].item.id
        return has_deferred

    async def recover(self) -> None:
        """Record the outcome of moves that a crash interrupted."""
        for move in await self._moves.in_progress():
            await record_state(self._moves, move, now=self._clock.now())

    async def undo(self, item_id: int | None) -> tuple[int, bytes]:
        """Restore the file of an item, or the file moved last; return the item's id and the restored path.

        Raise RequestError if no file was moved or it cannot be restored.
        """
        async with self._lock:
            return await self._undo.undo(item_id)

    async def _apply_action(self, action: PendingAction) -> None:
        await self._verify(action)
        try:
            target = await asyncio.to_thread(self._choose_target, action)
        except OSError as error:
            raise _KeepFile(f"file kept: cannot prepare the target ({error.strerror or error})") from error
        item = action.item
        move = await self._moves.begin(
            item,
            target=bytes(target.path),
            is_trashed=action.action.folder is None,
            info_path=None if target.info_path is None else bytes(target.info_path),
            now=self._clock.now(),
        )
        if move is None:
            return
        move_error = await asyncio.to_thread(_try_move, move, target)
        state = await record_state(self._moves, move, now=self._clock.now())
        self._log.info(
            "file moved", path=item.path, target=move.target, state=state, error=move_error and str(move_error)
        )
        if state is MoveState.RESTORED and move_error is not None:
            raise _exception_for(move_error)

    async def _verify(self, action: PendingAction) -> None:
        """Check that the file is unchanged since its upload and that the library still has it."""
        item, folder = action.item, action.action.folder
        assert item.sha256 is not None, "what is ready has been hashed"
        if folder is not None:
            if to_path(item.path).parent == to_path(folder):
                raise _KeepFile("file kept: it is already in the target folder")
            if not await asyncio.to_thread(to_path(folder).is_dir):
                raise _RetryLater(f"{printable(os.fsdecode(folder))} is missing (unmounted?)")
        try:
            await asyncio.to_thread(_verify_file, action)
        except FileNotFoundError:
            if self._clock.now() - item.updated_at < MISSING_GRACE_S:
                raise _RetryLater("the file is missing") from None
            raise _KeepFile("the file no longer exists") from None
        # The ledger is not enough: it records what the library had, and the asset may have been deleted since.
        if await self._client.check(item.sha256, control=True) is None:
            await self._ledger.mark_removed(item.sha256, now=self._clock.now())
            raise _KeepFile("file kept: the library no longer has it")
        await self._ledger.mark_seen(item.sha256, now=self._clock.now())

    def _choose_target(self, action: PendingAction) -> MoveTarget:
        path = to_path(action.item.path)
        if action.action.folder is None:
            return self._trash.choose_target(path, now=self._clock.now())
        return MoveTarget(find_free_path(to_path(action.action.folder), path.name))


def _verify_file(action: PendingAction) -> None:
    item = action.item
    try:
        # With a second hard link the content would stay at that name, and recovery could not tell the links apart.
        if not has_single_link(to_path(item.path)):
            raise _KeepFile("file kept: it has another hard link")
        digest = hash_file(to_path(item.path), item.version)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _KeepFile(f"file kept: cannot read it ({error.strerror})") from error
    if digest != item.sha256:
        raise _KeepFile("file kept: it has changed since its upload")


def _try_move(move: Move, target: MoveTarget) -> OSError | None:
    """Move the file if it is still the verified version; return the error, if any."""
    source = to_path(move.source)
    try:
        if not is_version_at(source, move.version) or not has_single_link(source):
            raise FileNotFoundError(errno.ENOENT, "the file changed just before the move")
        if target.info_path is not None:
            write_info_file(target.info_path, target.info_content)
        move_file(source, target.path)
    except OSError as error:
        return error
    return None


def _exception_for(error: OSError) -> Exception:
    if isinstance(error, FileExistsError):
        return _RetryLater("another file took the target name")
    if error.errno == errno.EXDEV:
        return _KeepFile("file kept: the target folder is on another disk")
    return _KeepFile(f"file kept: cannot move it ({error.strerror or error})")
