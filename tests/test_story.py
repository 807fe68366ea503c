"""What people are told about a file: what happens next, and when; and what only they can mend."""

import time
from dataclasses import replace

import pytest

from splootd.control.keeping import Kept
from splootd.control.story import REMEDY, Holdup, clock_time, needs, next_step
from splootd.core.failure import HANDLING, Verdict
from splootd.core.fault import Fault
from splootd.core.item import Item, Priority, State, Version
from splootd.protocol import FolderRow
from splootd.store.moves import Move, Whereabouts

NOW = 1_767_276_000.0  # 2026-01-01 14:00:00 UTC
KEPT = Kept()
FREE = Holdup(paused=False, state="ok", retry_at=None)
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
    fault=None,
    reason=None,
    folder_id=None,
    tags=(),
    force=False,
)


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


@pytest.mark.parametrize(
    ("holdup", "said"),
    [
        (FREE, "It waits for its turn."),
        (Holdup(True, "ok", None), "It waits, because sending is paused: sploot resume"),
        (Holdup(False, "signed_out", None), "It waits until you sign in: sploot login"),
        (
            Holdup(False, "unreachable", NOW + 30),
            "It waits until the server can be reached; that is tried again at 14:00:30.",
        ),
        (
            Holdup(False, "unreachable", None),
            "It waits until the server can be reached; that is tried again soon.",
        ),
        (
            Holdup(False, "rate_limited", NOW + 131),
            "It waits, because the server asks for patience, and goes on at 14:02:11.",
        ),
    ],
)
def test_what_waits_says_for_what(holdup: Holdup, said: str):
    assert next_step(ITEM, holdup, KEPT, NOW) == said


def test_what_will_be_tried_again_says_when_and_how_often_yet():
    failed = ITEM._replace(next_at=NOW + 11, attempts=2, fault=Fault.SERVER_FAULT)
    assert next_step(failed, FREE, KEPT, NOW) == "It will be tried again at 14:00:11; 2 of 5 tries are used up."
    assert next_step(ITEM._replace(next_at=NOW + 2), FREE, KEPT, NOW) == (
        "It is sent once it has rested, not before 14:00:02."
    )
    assert next_step(ITEM._replace(next_at=NOW - 1), FREE, KEPT, NOW) == "It waits for its turn."


def test_a_time_of_another_day_has_its_date():
    assert clock_time(NOW + 86_400, NOW) == "2026-01-02 14:00:00"


@pytest.mark.parametrize("fault", [fault for fault in Fault if HANDLING[fault].verdict is Verdict.BURY])
def test_every_dead_letter_has_a_remedy(fault: Fault):
    said = next_step(ITEM._replace(state=State.DEAD, fault=fault), FREE, KEPT, NOW)
    assert said == f"It needs you and will not be tried again by itself: {REMEDY[fault]}; then sploot retry 17"


def test_a_dead_letter_of_too_many_tries_only_needs_another_one():
    dead = ITEM._replace(state=State.DEAD, fault=Fault.SERVER_FAULT)
    assert next_step(dead, FREE, KEPT, NOW).endswith("by itself: sploot retry 17")


@pytest.mark.parametrize("state", list(State))
def test_every_state_has_a_sentence(state: State):
    assert next_step(ITEM._replace(state=state), FREE, KEPT, NOW)


def test_what_was_skipped_says_how_to_send_it_all_the_same():
    skipped = ITEM._replace(state=State.SKIPPED)
    assert "--force" in next_step(skipped._replace(fault=Fault.REMOVED), FREE, KEPT, NOW)
    assert "sploot retry 17" in next_step(skipped._replace(fault=Fault.FORGOTTEN), FREE, KEPT, NOW)
    assert next_step(skipped._replace(fault=Fault.UNSUPPORTED), FREE, KEPT, NOW) == "It will not be sent."


def folder(path: str, state: str) -> FolderRow:
    return FolderRow(path, state, None, 0, None)


def test_nobody_is_needed_while_all_is_well():
    assert needs(0, None, [folder("/a", "watching"), folder("/b", "polling"), folder("/c", "scanning")]) == []


def test_what_only_the_user_can_mend_comes_with_a_command():
    found = needs(
        2,
        "the server does not know who you are",
        [folder("/a", "missing"), folder("/b", "missing"), folder("/c", "unreadable")],
    )
    assert [(need.what, need.count, need.command) for need in found] == [
        ("the server does not know who you are", 1, "sploot login"),
        ("2 files could not be sent", 2, "sploot failed"),
        ("2 folders: /a and others are not there", 2, "sploot folders"),
        ("the folder /c cannot be read", 1, "sploot folders"),
    ]


# What was searchable once.

READY = ITEM._replace(state=State.READY, path=b"/memes/it's a cat.png")
MOVE = Move(3, 17, b"/memes/cat.png", b"/shelf/cat.png", False, None, ITEM.version, Whereabouts.THERE)


def test_what_was_removed_there_says_since_when_and_how_to_send_it_again():
    said = next_step(READY, FREE, Kept(removed_at=NOW - 60), NOW)
    assert said == (
        "It was removed in the library since (noticed at 13:59:00), and stays removed; to send it again:"
        """ sploot add --force '/memes/it'"'"'s a cat.png'"""
    )


def test_without_the_librarys_word_nothing_is_claimed():
    said = next_step(READY, FREE, Kept(is_sure=False), NOW)
    assert said == "Nothing: it is searchable. The library could not be asked just now whether it still has it."


def test_what_was_put_away_says_how_it_comes_back():
    assert next_step(READY, FREE, Kept(move=MOVE), NOW) == (
        "Nothing: it is searchable. Its file was moved here; to bring it back: sploot undo 17"
    )
    trashed = next_step(READY, FREE, Kept(move=replace(MOVE, is_trashed=True)), NOW)
    assert "Its file was put into the trash; to bring it back: sploot undo 17" in trashed
