"""What the full screen says, line by line."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from screens import REPORT, STATUS, row
from sploot.render import PLAIN
from sploot.topview import lines
from sploot.topview.speeds import Speeds, Transfer

from splootd.protocol import Need, Rates

ITEMS = {"total": 100_030, "ready": 92_000, "embedding": 990, "uploading": 4, "pending": 7_000, "dead": 6, "gone": 30}
BUSY = replace(
    STATUS,
    items={**ITEMS, "skipped": 0},
    ready_of_which_duplicates=312,
    pending_of_which_delayed=12,
    rates=Rates(38.1, 4_200_000.0, 190.0),
    needs_you=(Need("6 files could not be sent", 6, "sploot failed"), Need("b", 1, "c")),
)

STATUS_DONE = replace(STATUS, items={"total": 2, "ready": 2})


def test_the_sum_is_broken_before_a_plus_and_nothing_of_it_is_left_out():
    assert lines.head(BUSY, PLAIN, 80) == [
        "sploot   running   embedded library ok   breaker closed   news by websocket",
        "100,030 = 92,000 ready (312 duplicates) + 990 embedding + 4 uploading",
        "  + 7,000 pending (12 delayed) + 6 dead + 30 gone",
        "4.2 MB/s, 38.1 files/s, about 3 min 10 s left",
        "needs you: 6 files could not be sent -> sploot failed  (1 more: sploot status)",
    ]


@given(width=st.integers(20, 200))
def test_the_head_fits_into_any_width(width: int):
    assert max(map(len, lines.head(BUSY, PLAIN, width))) <= max(width, 40)


def test_what_keeps_the_server_away_takes_the_place_of_the_speed():
    away = replace(
        BUSY.server, state="unreachable", detail="the server is\x1b away", retry_at="2026-01-01T10:00:00.000Z"
    )
    assert r"the server is\x1b away; tried again at " in lines.head(replace(BUSY, server=away), PLAIN, 80)[3]


def test_a_pause_says_how_it_ends():
    paused = replace(BUSY, daemon=replace(BUSY.daemon, state="paused"))
    assert lines.head(paused, PLAIN, 80)[3] == "sending is paused, 7,000 files waiting; to go on: p"


def test_what_is_done_is_told_from_what_is_still_made_searchable():
    assert lines.head(STATUS_DONE, PLAIN, 80)[2] == "nothing waits to be sent"
    embedding = replace(STATUS_DONE, items={"total": 2, "ready": 0, "embedding": 2})
    assert lines.head(embedding, PLAIN, 80)[2] == "everything is sent; 2 files still to become searchable"


@given(
    name=st.text(st.characters(exclude_characters="/\0"), min_size=1, max_size=60),
    folder=st.sampled_from(["/", "/memes/", "/a/very/long/way/to/the/folder/of/memes/", "/写真/とても/長い/"]),
    reason=st.one_of(st.none(), st.text(max_size=80)),
    width=st.integers(1, 140),
)
def test_a_row_fills_its_width_whatever_it_is_called(name: str, folder: str, reason: str | None, width: int):
    text = "".join(lines.item(row(1, path=folder + name, reason=reason), width))
    assert text.isprintable() or any(char in "\u200d\u202f" for char in text)
    assert cell_len(text) == width or any(char in "\u200d\ufe0f" for char in text)


def test_a_reason_does_not_repeat_the_name_that_stands_beside_it():
    shown = "".join(lines.item(row(1, "dead", reason="meme 1.png: it is no picture"), 80)).rstrip()
    assert shown == " dead        1.0 kB  /memes/meme 1.png   it is no picture"
    assert lines.item(row(1, "dead", reason="the disk is full"), 80)[2].strip() == "the disk is full"


def test_a_long_path_keeps_its_name():
    assert lines.fit_place("/a/very/long/way/to/cat.png", 20) == "…long/way/to/cat.png"
    assert lines.fit_place("/memes/cat.png", 9) == "…/cat.png"
    assert lines.fit_place("/memes/cat.png", 8) == "cat.png"
    assert lines.fit_place("/memes/a rather long name.png", 10) == "a rather …"


def test_transfers_that_find_no_line_are_counted():
    moving = [Transfer(f"/m/{number}.png", 100, 50, 2_000_000.0) for number in range(6)]
    shown = lines.transfers(moving, PLAIN, 80, 4)
    assert shown[0] == "[######------]  50%     50 B of 100 B     2.0 MB/s  /m/0.png"
    assert shown[3:] == ["and 3 more"]
    assert lines.transfers([], PLAIN, 80, 4) == ["nothing is being sent"]
    assert "100%" in lines.transfers([Transfer("/m", 0, 0, None)], PLAIN, 80, 4)[0]


def test_the_metrics_fit_beside_the_queue_and_below_the_head():
    shown = lines.metrics(BUSY, REPORT, PLAIN)
    assert max(map(len, shown)) <= 66
    assert "urgent waits              3            10 ms    20 ms   500 ms" in shown
    assert not any("searchable" in line for line in shown)


@pytest.mark.parametrize("width", [20, 40, 80, 120])
def test_the_keys_that_are_needed_most_are_shown_first(width: int):
    shown = lines.keys(width)
    assert len(shown) <= width
    assert shown.startswith("? help")
    assert ("q quit" in shown) == (width >= 80)


def test_a_speed_is_what_moved_within_the_last_seconds():
    speeds = Speeds()
    assert speeds.note([{"path": "/a", "size": 100, "sent": 0}], 0.0)[0].bytes_per_s is None
    assert speeds.note([{"path": "/a", "size": 100, "sent": 10}], 0.5)[0].bytes_per_s == 20.0
    assert speeds.note([{"path": "/a", "size": 100, "sent": 10}], 10.0)[0].bytes_per_s is None
    assert speeds.note([{"path": "/a", "size": 100, "sent": 40}], 11.0)[0].bytes_per_s == 30.0


def test_another_try_begins_at_nothing_and_what_has_ended_is_forgotten():
    speeds = Speeds()
    speeds.note([{"path": "/a", "size": 100, "sent": 90}], 0.0)
    assert speeds.note([{"path": "/a", "size": 100, "sent": 5}], 1.0)[0].bytes_per_s is None
    assert speeds.note([], 2.0) == []
    assert speeds._seen == {}
