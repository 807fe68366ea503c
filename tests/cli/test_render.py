"""What the command line shows, compared as a whole: these are the screens that people know."""

import re
import time
from dataclasses import replace

import pytest
from sploot import render
from sploot.render import Style

from splootd.protocol import (
    Added,
    AttemptRow,
    DaemonStatus,
    FolderRow,
    Hit,
    ItemRow,
    Need,
    Rates,
    ServerStatus,
    Status,
    Story,
)

ZERO = dict.fromkeys(("pending", "uploading", "embedding", "ready", "dead", "gone", "skipped"), 0)
IDLE = Status(
    daemon=DaemonStatus("0.1.0", 4711, 273_600.0, "running", 85_000_000),
    server=ServerStatus("local", embedded=True, state="ok", breaker="closed", push="polling", retry_at=None),
    items={"total": 0, **ZERO},
    ready_of_which_duplicates=0,
    pending_of_which_delayed=0,
    rates=Rates(0.0, 0.0, None),
    folders=(),
    needs_you=(),
)
BUSY = replace(
    IDLE,
    server=ServerStatus(
        "https://m.example", False, "unreachable", "open", "polling", "2026-01-01T14:02:11.000Z", "no way"
    ),
    items={"total": 2_480, **ZERO, "ready": 1_902, "embedding": 214, "uploading": 4, "pending": 351, "dead": 9},
    ready_of_which_duplicates=22,
    pending_of_which_delayed=7,
    rates=Rates(12.34, 3_100_000.0, 540.0),
    folders=(
        FolderRow("/home/ann/memes", "watching", None, 2_480, None),
        FolderRow("/mnt/disk", "missing", "the disk is not there", 0, None),
    ),
    needs_you=(Need("9 files could not be sent", 9, "sploot failed"),),
)
ROW = ItemRow(
    id=17,
    path="/home/ann/memes/cat\n.png",
    state="dead",
    priority="normal",
    shard=3,
    size=14_200_000,
    sha256="ab" * 32,
    asset_id=None,
    attempts=2,
    added_at="2026-01-01T10:00:00.000Z",
    updated_at="2026-01-01T10:00:05.000Z",
    next_at=None,
    reason="the server takes at most 10 MB",
    duplicate=False,
    folder="/home/ann/memes",
    tags=("cats",),
)


@pytest.fixture(autouse=True)
def ann_in_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


def test_an_idle_daemon_has_little_to_say():
    assert render.status(IDLE) == [
        "daemon   running   3 d 4 h   version 0.1.0   pid 4711   85.0 MB",
        "server   embedded library   ok   breaker closed   news by polling",
        "items    0",
    ]


def test_a_busy_daemon_says_everything_and_it_adds_up():
    assert render.status(BUSY) == [
        "daemon   running   3 d 4 h   version 0.1.0   pid 4711   85.0 MB",
        "server   https://m.example   unreachable   breaker open   news by polling   tried again at 14:02:11   no way",
        "folder   ~/memes   watching   2,480 files",
        "folder   /mnt/disk   missing   0 files   the disk is not there",
        "items    2,480 = 1,902 ready (22 duplicates) + 214 embedding + 4 uploading + 351 pending (7 delayed) + 9 dead",
        "rate     3.1 MB/s, 12.3 files/s, about 9 min left",
        "needs you: 9 files could not be sent -> sploot failed",
    ]
    assert BUSY.items["total"] == 1_902 + 214 + 4 + 351 + 9


def test_an_unknown_time_left_is_admitted():
    assert render.rates(Rates(0.0, 0.0, None)) == "0 B/s, 0.0 files/s, time left: estimating"


def test_colours_change_nothing_but_colours():
    painted = render.status(BUSY, Style(is_on=True))
    assert [re.sub(r"\x1b\[\d+m", "", line) for line in painted] == render.status(BUSY)
    assert painted != render.status(BUSY)


def test_an_item_is_one_line_even_if_its_name_is_not():
    assert render.item(ROW) == ("     17  dead        14.2 MB  ~/memes/cat\\n.png   the server takes at most 10 MB")


def test_a_dead_letter_shows_its_reason_and_its_tries():
    assert list(render.failed([ROW])) == [
        "     17  ~/memes/cat\\n.png",
        "         the server takes at most 10 MB (2 tries)",
    ]


def test_a_story_is_told_from_the_beginning_to_what_comes_next():
    tried = AttemptRow("2026-01-01T10:00:05.000Z", "too_large", "bury", "the server takes at most 10 MB")
    story = Story(item=ROW, attempts=(tried,), next="It needs you: sploot retry 17", versions=2)
    assert render.story(story) == [
        "~/memes/cat\\n.png",
        "item     17, the newest of 2 versions   14.2 MB   priority normal   shard 3",
        "state    dead   the server takes at most 10 MB",
        "added    2026-01-01 10:00:00   changed 2026-01-01 10:00:05",
        "folder   ~/memes",
        "tags     cats",
        f"sha256   {'ab' * 32}",
        "tried    2026-01-01 10:00:05   bury   the server takes at most 10 MB",
        "next     It needs you: sploot retry 17",
    ]


def test_a_match_shows_its_number_its_file_and_its_link():
    assert render.hit(1, Hit("a", 0.8234, "/home/ann/memes/cat.png", "http://x/a", "I can\nhas")) == [
        "  1  0.823  ~/memes/cat.png",
        "            http://x/a",
        "            I can has",
    ]


def test_a_match_without_a_file_says_how_to_see_it():
    assert render.hit(12, Hit("a", None, None, None, None)) == [" 12         no file here: sploot search --open 12"]


def test_what_add_has_done_is_a_sentence():
    assert render.added(Added(1, {"queued": 1000, "known": 3}, (), walking=True)) == (
        "Files: 1,000 queued, 3 known already. Folders are still being looked through: sploot status"
    )
    assert render.added(Added(1, {}, (), walking=False)) == "Nothing was queued."
    assert render.added(Added(None, {"queued": 2}, (), walking=False), is_dry_run=True) == "Would be: 2 queued."


def test_no_folders_is_said_and_helped():
    assert render.folders([]) == ["No folder is watched. To watch one: sploot add FOLDER"]
