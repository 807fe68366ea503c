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
    assert render.render_status(IDLE) == ["daemon   running   3 d 4 h", "server   local server   ok", "files    0"]


def test_the_status_of_a_busy_daemon_is_complete_and_adds_up():
    busy = replace(BUSY, items=BUSY.items | {"skipped": 3, "total": 2_483})
    assert render.render_status(busy) == [
        "daemon   running   3 d 4 h",
        "server   https://m.example   cannot be reached   next attempt at 14:02:11   no way",
        "folder   ~/memes   watching   2,480 files",
        "folder   /mnt/disk   missing   0 files   the disk is not there",
        (
            "files    2,483 = 1,902 ready (22 duplicates) + 214 processing + 4 uploading "
            "+ 351 waiting (7 of them for later) + 9 failed + 3 skipped"
        ),
        "rate     3.1 MB/s, 12.3 files/s, about 9 min left",
        "skipped  3 files: sploot list --state skipped",
        "action required: 9 files could not be sent -> sploot failed",
    ]
    assert busy.items["total"] == 1_902 + 214 + 4 + 351 + 9 + 3


def test_a_local_server_that_starts_is_not_called_unreachable():
    starting = replace(IDLE.server, state="unreachable", detail="the local server is starting")
    assert render.render_status(replace(IDLE, server=starting))[1] == (
        "server   local server   the local server is starting"
    )


@pytest.mark.parametrize("columns", [40, 50, 80, 200])
@pytest.mark.parametrize("style", [Style(), Style(is_on=True)])
def test_the_status_is_folded_between_words(columns: int, style: Style):
    lines = [re.sub(r"\x1b\[\d+m", "", line) for line in render.render_status(BUSY, style, columns)]
    assert max(map(len, lines)) <= columns
    assert " ".join(" ".join(lines).split()) == " ".join(" ".join(render.render_status(BUSY)).split())
    names = ("daemon", "server", "folder", "files", "rate", "action", "         ")
    assert all(line.startswith(names) for line in lines)
    assert not any(line.startswith(" " * 10) for line in lines)


def test_an_unknown_time_left_is_estimating():
    assert render.render_rates(Rates(0.5, 2_000.0, None)) == "2.0 kB/s, 0.5 files/s, time left: estimating"
    assert render.render_rates(Rates(0.0, 0.0, None)) == "nothing is being sent right now"


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
        "item     17, the newest of 2 versions   14.2 MB   priority normal",
        "state    Failed   the server takes at most 10 MB",
        "added    2026-01-01 10:00:00   changed 2026-01-01 10:00:05",
        "folder   ~/memes",
        "tags     cats",
        f"sha256   {'ab' * 32}",
        "attempt  2026-01-01 10:00:05   failed   the server takes at most 10 MB",
        "next     It needs you: sploot retry 17",
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
        "Added 303 files. Watching ~/memes for new ones."
    )


def test_an_empty_list_of_folders_has_a_hint():
    assert render.render_folders([]) == ["No watched folders. To watch one: sploot add FOLDER"]


def test_the_status_shortens_a_long_path_in_the_middle_and_folders_prints_it_whole():
    path = "/" + "/".join(["a" * 200] * 5) + "/memes"
    row = FolderRow(path, "watching", None, 0, None)
    (line,) = render.render_folders([row])
    assert path in line
    assert render.shorten_middle(path, 20) == "/aaaaaaaaa…aaa/memes"
    assert len(render.shorten_middle(path, 20)) == 20
