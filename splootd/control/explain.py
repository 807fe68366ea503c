"""Sentences for people: the next step of an item and the actions required of the user. Pure: time is an argument."""

import os
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from splootd.control.presence import Presence
from splootd.control.remedies import describe_remedy
from splootd.core.backoff import ATTEMPTS_MAX
from splootd.core.item import Item, State
from splootd.protocol import ActionRequired, FolderRow
from splootd.text import display_path


@dataclass(frozen=True, slots=True)
class Blocker:
    """What blocks all uploads: a pause, the server (`state`, `retry_at` in epoch seconds), or a metered network."""

    paused: bool
    state: str
    retry_at: float | None
    suspend_reason: str | None = None  # set while uploads are suspended although the server is healthy
    detail: str | None = None  # the last error of the server or of the way to it


def format_clock_time(at: float, now: float) -> str:
    """Format a local time of day, with the date unless it is today."""
    moment, today = datetime.fromtimestamp(at).astimezone(), datetime.fromtimestamp(now).astimezone()
    return f"{moment:%H:%M:%S}" if moment.date() == today.date() else f"{moment:%Y-%m-%d %H:%M:%S}"


def describe_next_step(item: Item, blocker: Blocker, presence: Presence, now: float) -> str:
    """Describe the next step of an item and its time."""
    match item.state:
        case State.PENDING:
            return _describe_pending(item, blocker, now)
        case State.UPLOADING if blocker.state == "silent":
            return f"Uploading, but the server accepts requests and does not respond ({blocker.detail})."
        case State.UPLOADING:
            return "Uploading now."
        case State.EMBEDDING:
            return "Uploaded. The library is processing it; it becomes searchable afterwards."
        case State.READY:
            return _describe_ready(item, presence, now)
        case State.FAILED:
            return f"Not retried automatically. {describe_remedy(item) or ''}".rstrip()
        case State.MISSING:
            text = "The file no longer exists. It is queued again if it reappears in a watched folder."
            return f"{text} {describe_remedy(item) or ''}".rstrip()
        case State.SKIPPED:
            return f"It is not uploaded. {describe_remedy(item) or ''}".rstrip()


def _describe_ready(item: Item, presence: Presence, now: float) -> str:
    if presence.removed_at is not None:
        add_command = f"sploot add --force {shlex.quote(os.fsdecode(item.path))}"
        noticed_at = format_clock_time(presence.removed_at, now)
        return (
            f"Removed from the library (detected {noticed_at}); not uploaded again. To upload it again: {add_command}"
        )
    text = "Done: it is searchable."
    if not presence.is_confirmed:
        text += " The library could not be reached to confirm that it still has the file."
    if presence.move is not None:
        move_text = "moved to the trash" if presence.move.is_trashed else "moved to this path"
        text += f" The file was {move_text} after the upload. To undo: sploot undo {item.id}"
    return text


def _describe_pending(item: Item, blocker: Blocker, now: float) -> str:
    if blocker.paused:
        return "Waiting: uploads are paused. Resume: sploot resume"
    if item.next_at is not None and item.next_at > now:
        at = format_clock_time(item.next_at, now)
        if item.error_code is None:
            return f"Waiting until the file stops changing; uploads at {at} at the earliest."
        return f"Retries at {at}; {item.attempts} of {ATTEMPTS_MAX[item.priority]} attempts used."
    retry_text = f" at {format_clock_time(blocker.retry_at, now)}" if blocker.retry_at else ""
    match blocker.state:
        case "signed_out":
            return f"Waiting: {blocker.detail or 'you are signed out'}. Sign in: sploot login"
        case "silent":
            return f"Waiting: the server accepts requests but does not respond ({blocker.detail})."
        case "embeddings_fail" | "full":
            return f"Waiting: {blocker.detail}; tests again{retry_text or ' soon'}. To upload anyway: sploot resume"
        case "degraded":
            return f"Waiting: the server fails on some files and is being tested; retries{retry_text or ' soon'}."
        case "unreachable" | "starting":
            return f"Waiting: {blocker.detail or 'the server cannot be reached'}; retries{retry_text or ' soon'}."
        case "rate_limited":
            return f"Rate-limited by the server; retries{retry_text or ' soon'}."
        case _ if blocker.suspend_reason:
            return f"Waiting: {blocker.suspend_reason}. To upload anyway: sploot config set on_metered_network send"
        case _:
            return "Waiting for its turn in the queue."


def list_actions_required(
    failed_count: int, sign_in_error: str | None, folders: Iterable[FolderRow], *, unsearchable_count: int = 0
) -> list[ActionRequired]:
    """Return the problems that only the user can fix, most urgent first. `sign_in_error` is set while signed out.

    `unsearchable_count` files are in the library, but it cannot find them; `failed_count` others failed.
    """
    actions = []
    if sign_in_error is not None:
        actions.append(ActionRequired(sign_in_error, 1, "sploot login"))
    for count, what in ((failed_count, "failed"), (unsearchable_count, "in the library cannot be found by searching")):
        if count:
            files = "1 file" if count == 1 else f"{count} files"
            actions.append(ActionRequired(f"{files} {what}", count, "sploot failed"))
    for state, one, many in (
        ("missing", "is missing (unmounted?); its queued files are kept", "are missing (unmounted?)"),
        ("unreadable", "cannot be read", "cannot be read"),
    ):
        unavailable = [folder for folder in folders if folder.state == state]
        name = display_path(os.fsencode(unavailable[0].path)) if unavailable else ""
        if len(unavailable) == 1:
            what = unavailable[0].detail or f"the folder {name} {one}"
            actions.append(ActionRequired(what, 1, "sploot folders"))
        elif unavailable:
            actions.append(
                ActionRequired(
                    f"{len(unavailable)} folders, {name} among them, {many}",
                    len(unavailable),
                    "sploot folders",
                )
            )
    return actions
