"""The rendered output of the command line, compared as a whole."""

import re
import time
from dataclasses import replace

import pytest
from sploot import render
from sploot.render import Style

from splootd.protocol import (
    ActionRequired,
    AddReply,
    AttemptRow,
    DaemonStatus,
    Explanation,
    FolderRow,
    Hit,
    ItemRow,
    Rates,
    ServerStatus,
    Status,
)

ZERO = dict.fromkeys(("pending", "uploading", "embedding", "ready", "failed", "missing", "skipped"), 0)
IDLE = Status(
    daemon=DaemonStatus("0.1.0", 4711, 273_600.0, "running", 85_000_000),
    server=ServerStatus("local", is_local=True, state="ok", breaker="closed", push="polling", retry_at=None),
    items={"total": 0, **ZERO},
    duplicates=0,
    delayed=0,
    rates=Rates(0.0, 0.0, None),
    folders=(),
    actions_required=(),
)
BUSY = replace(
    IDLE,
    server=ServerStatus(
        "https://m.example", False, "unreachable", "open", "polling", "2026-01-01T14:02:11.000Z", "no way"
    ),
    items={"total": 2_480, **ZERO, "ready": 1_902, "embedding": 214, "uploading": 4, "pending": 351, "failed": 9},
    duplicates=22,
    delayed=7,
    rates=Rates(12.34, 3_100_000.0, 540.0),
    folders=(
        FolderRow("/home/ann/memes", "watching", None, 2_480, None),
        FolderRow("/mnt/disk", "missing", "the disk is not there", 0, None),
    ),
    actions_required=(ActionRequired("9 files could not be sent", 9, "sploot failed"),),
)
ROW = ItemRow(
    id=17,
    path="/home/ann/memes/cat\n.png",
    state="failed",
    priority="normal",
    shard=3,
    size=14_200_000,
    sha256="ab" * 32,
    asset_id=None,
    attempts=2,
    added_at="2026-01-01T10:00:00.000Z",
    updated_at="2026-01-01T10:00:05.000Z",
    next_at=None,
    error_message="the server takes at most 10 MB",
    duplicate=False,
    folder="/home/ann/memes",
    tags=("cats",),
)


@pytest.fixture(autouse=True)
def ann_in_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


def test_the_status_of_an_idle_daemon_is_short():
    assert render.render_status(IDLE) == [
        "daemon   running   3 d 4 h   version 0.1.0   pid 4711   85.0 MB",
        "server   local server   ok   breaker closed   updates by polling",
        "items    0",
    ]


def test_the_status_of_a_busy_daemon_is_complete_and_adds_up():
    assert render.render_status(BUSY) == [
        "daemon   running   3 d 4 h   version 0.1.0   pid 4711   85.0 MB",
        "server   https://m.example   unreachable   breaker open   updates by polling   retry at 14:02:11   no way",
        "folder   ~/memes   watching   2,480 files",
        "folder   /mnt/disk   missing   0 files   the disk is not there",
        (
            "items    2,480 = 1,902 ready (22 duplicates) + 214 processing + 4 uploading "
            "+ 351 waiting (7 delayed) + 9 failed"
        ),
        "rate     3.1 MB/s, 12.3 files/s, about 9 min left",
        "action required: 9 files could not be sent -> sploot failed",
    ]
    assert BUSY.items["total"] == 1_902 + 214 + 4 + 351 + 9


def test_an_unknown_time_left_is_estimating():
    assert render.render_rates(Rates(0.0, 0.0, None)) == "0 B/s, 0.0 files/s, time left: estimating"


def test_colours_change_nothing_but_colours():
    painted = render.render_status(BUSY, Style(is_on=True))
    assert [re.sub(r"\x1b\[\d+m", "", line) for line in painted] == render.render_status(BUSY)
    assert painted != render.render_status(BUSY)


def test_an_item_is_one_line_even_if_its_name_is_not():
    assert render.render_item(ROW) == (
        "     17  Failed       14.2 MB  ~/memes/cat\\n.png   the server takes at most 10 MB"
    )


def test_a_failed_file_has_its_error_and_its_attempts():
    assert list(render.render_failed([ROW])) == [
        "     17  ~/memes/cat\\n.png",
        "         the server takes at most 10 MB (2 attempts)",
    ]


def test_an_explanation_ends_with_what_happens_next():
    attempt = AttemptRow("2026-01-01T10:00:05.000Z", "too_large", "discard", "the server takes at most 10 MB")
    explanation = Explanation(item=ROW, attempts=(attempt,), next="It needs you: sploot retry 17", versions=2)
    assert render.render_explanation(explanation) == [
        "~/memes/cat\\n.png",
        "item     17, the newest of 2 versions   14.2 MB   priority normal   shard 3",
        "state    Failed   the server takes at most 10 MB",
        "added    2026-01-01 10:00:00   changed 2026-01-01 10:00:05",
        "folder   ~/memes",
        "tags     cats",
        f"sha256   {'ab' * 32}",
        "attempt  2026-01-01 10:00:05   failed   the server takes at most 10 MB",
        "next     It needs you: sploot retry 17",
    ]


def test_a_match_has_its_number_path_and_url():
    assert render.render_hit(1, Hit("a", 0.8234, "/home/ann/memes/cat.png", "http://x/a", "I can\nhas")) == [
        "  1  0.823  ~/memes/cat.png",
        "            http://x/a",
        "            I can has",
    ]


def test_a_match_without_a_local_file_has_a_hint():
    assert render.render_hit(12, Hit("a", None, None, None, None)) == [
        " 12         no local file; to view it: sploot search TEXT --open 12"
    ]


def test_the_result_of_add_is_sentences():
    assert render.render_added(AddReply(1, {"queued": 1000, "known": 3}, (), scanning=True)) == (
        "Added 1,000 files. Others: 3 already in the queue or the library. "
        "Scanning continues in the background; check with: sploot status"
    )
    assert render.render_added(AddReply(1, {}, (), scanning=False)) == "Nothing was added."
    assert render.render_added(AddReply(None, {"queued": 2}, (), scanning=False), is_dry_run=True) == (
        "Dry run: 2 files would be added. Nothing was sent."
    )
    assert render.render_added(AddReply(1, {"known": 2}, (), scanning=False)) == (
        "Nothing new: all 2 files are already in the queue or the library."
    )
    assert render.render_added(AddReply(1, {"queued": 303}, (), scanning=False), ["/home/ann/memes"]) == (
        "Added 303 files. Watching ~/memes."
    )


def test_an_empty_list_of_folders_has_a_hint():
    assert render.render_folders([]) == ["No watched folders. To watch one: sploot add FOLDER"]
