"""Sentences for people: the next step of an item and the actions required."""

import time
from dataclasses import replace

import pytest

from splootd.control.explain import Blocker, describe_next_step, format_clock_time, list_actions_required
from splootd.control.presence import Presence
from splootd.control.remedies import REMEDIES
from splootd.core.error_code import ErrorCode
from splootd.core.item import Item, Priority, State, Version
from splootd.core.retry_policy import RETRY_POLICY, RetryAction
from splootd.protocol import FolderRow
from splootd.store.move_journal import Move, MoveState

NOW = 1_767_276_000.0  # 2026-01-01 14:00:00 UTC
PRESENT = Presence()
NOT_BLOCKED = Blocker(paused=False, state="ok", retry_at=None)
ITEM = Item(
    id=17,
    path=b"/memes/cat.png",
    version=Version(1, 2, 3, 4),
    state=State.PENDING,
    priority=Priority.NORMAL,
    shard=0,
    added_at=NOW,
    updated_at=NOW,
    next_at=None,
    attempts=0,
    sha256=None,
    asset_id=None,
    duplicate=False,
    error_code=None,
    error_message=None,
    folder_id=None,
    tags=(),
    force=False,
)


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


@pytest.mark.parametrize(
    ("blocker", "text"),
    [
        (NOT_BLOCKED, "Waiting for its turn in the queue."),
        (Blocker(True, "ok", None), "Waiting: uploads are paused. Resume: sploot resume"),
        (Blocker(False, "signed_out", None), "Waiting: you are signed out. Sign in: sploot login"),
        (
            Blocker(False, "unreachable", NOW + 30),
            "Waiting: the server cannot be reached; retries at 14:00:30.",
        ),
        (
            Blocker(False, "unreachable", None, detail="the proxy http://p (http_proxy) refuses the connection"),
            "Waiting: the proxy http://p (http_proxy) refuses the connection; retries soon.",
        ),
        (
            Blocker(False, "unreachable", None),
            "Waiting: the server cannot be reached; retries soon.",
        ),
        (
            Blocker(False, "starting", None, detail="the local server is starting"),
            "Waiting: the local server is starting; retries soon.",
        ),
        (
            Blocker(False, "full", NOW + 30, detail="the library has no room for more files"),
            "Waiting: the library has no room for more files; tests again at 14:00:30. To upload anyway: sploot resume",
        ),
        (
            Blocker(False, "rate_limited", NOW + 131),
            "Rate-limited by the server; retries at 14:02:11.",
        ),
    ],
)
def test_a_pending_item_names_its_blocker(blocker: Blocker, text: str):
    assert describe_next_step(ITEM, blocker, PRESENT, NOW) == text


def test_a_retry_has_its_time_and_the_attempts_used():
    failed = ITEM._replace(next_at=NOW + 11, attempts=2, error_code=ErrorCode.SERVER_ERROR)
    assert describe_next_step(failed, NOT_BLOCKED, PRESENT, NOW) == "Retries at 14:00:11; 2 of 5 attempts used."
    assert describe_next_step(ITEM._replace(next_at=NOW + 2), NOT_BLOCKED, PRESENT, NOW) == (
        "Waiting until the file stops changing; uploads at 14:00:02 at the earliest."
    )
    assert (
        describe_next_step(ITEM._replace(next_at=NOW - 1), NOT_BLOCKED, PRESENT, NOW)
        == "Waiting for its turn in the queue."
    )


def test_a_time_on_another_day_includes_the_date():
    assert format_clock_time(NOW + 86_400, NOW) == "2026-01-02 14:00:00"


@pytest.mark.parametrize(
    "error_code", [error_code for error_code in ErrorCode if RETRY_POLICY[error_code].action is RetryAction.DISCARD]
)
def test_every_failed_item_has_its_remedy(error_code: ErrorCode):
    failed = ITEM._replace(state=State.FAILED, error_code=error_code)
    text = describe_next_step(failed, NOT_BLOCKED, PRESENT, NOW)
    assert text == f"Not retried automatically. {REMEDIES[error_code].describe(failed)}"


def test_an_item_without_attempts_left_only_needs_a_retry():
    failed = ITEM._replace(state=State.FAILED, error_code=ErrorCode.CONNECTION_LOST)
    assert describe_next_step(failed, NOT_BLOCKED, PRESENT, NOW).endswith("To retry: sploot retry 17")


@pytest.mark.parametrize("state", list(State))
def test_every_state_has_a_sentence(state: State):
    assert describe_next_step(ITEM._replace(state=state), NOT_BLOCKED, PRESENT, NOW)


def test_a_skipped_item_names_the_command_to_upload_it():
    skipped = ITEM._replace(state=State.SKIPPED)
    assert "--force" in describe_next_step(skipped._replace(error_code=ErrorCode.REMOVED), NOT_BLOCKED, PRESENT, NOW)
    assert "sploot retry 17" in describe_next_step(
        skipped._replace(error_code=ErrorCode.CANCELLED), NOT_BLOCKED, PRESENT, NOW
    )
    assert "Convert it" in describe_next_step(
        skipped._replace(error_code=ErrorCode.UNSUPPORTED), NOT_BLOCKED, PRESENT, NOW
    )


def folder(path: str, state: str) -> FolderRow:
    return FolderRow(path, state, None, 0, None)


def test_no_action_is_required_without_problems():
    assert (
        list_actions_required(0, None, [folder("/a", "watching"), folder("/b", "polling"), folder("/c", "scanning")])
        == []
    )


def test_every_required_action_has_a_command():

    actions = list_actions_required(
        2,
        "you are signed out",
        [folder("/a", "missing"), folder("/b", "missing"), folder("/c", "unreadable")],
    )
    assert [(action.what, action.count, action.command) for action in actions] == [
        ("you are signed out", 1, "sploot login"),
        ("2 files failed", 2, "sploot failed"),
        ("2 folders, /a among them, are missing (unmounted?)", 2, "sploot folders"),
        ("the folder /c cannot be read", 1, "sploot folders"),
    ]


# Ready items.

READY = ITEM._replace(state=State.READY, path=b"/memes/it's a cat.png")
MOVE = Move(3, 17, b"/memes/cat.png", b"/archive/cat.png", False, None, ITEM.version, MoveState.MOVED)


def test_a_removed_item_has_the_time_and_the_command_to_upload_it_again():
    text = describe_next_step(READY, NOT_BLOCKED, Presence(removed_at=NOW - 60), NOW)
    assert text == (
        "Removed from the library (detected 13:59:00); not uploaded again. To upload it again:"
        """ sploot add --force '/memes/it'"'"'s a cat.png'"""
    )


def test_an_unconfirmed_presence_is_reported():
    text = describe_next_step(READY, NOT_BLOCKED, Presence(is_confirmed=False), NOW)
    assert text == "Done: it is searchable. The library could not be reached to confirm that it still has the file."


def test_a_moved_file_names_the_undo_command():
    assert describe_next_step(READY, NOT_BLOCKED, Presence(move=MOVE), NOW) == (
        "Done: it is searchable. The file was moved to this path after the upload. To undo: sploot undo 17"
    )
    trashed = describe_next_step(READY, NOT_BLOCKED, Presence(move=replace(MOVE, is_trashed=True)), NOW)
    assert "The file was moved to the trash after the upload. To undo: sploot undo 17" in trashed


def test_files_that_the_library_has_but_cannot_find_are_not_said_to_be_unsent():
    (action,) = list_actions_required(0, None, [], unsearchable_count=3)
    assert (action.what, action.command) == ("3 files in the library cannot be found by searching", "sploot failed")
