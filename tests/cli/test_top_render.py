"""The lines of the terminal UI."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from screens import REPORT, STATUS, row
from sploot.render import PLAIN
from sploot.tui import render
from sploot.tui.transfer_rates import Transfer, TransferRates

from splootd.protocol import ActionRequired, Rates

ITEMS = {
    "total": 100_030,
    "ready": 92_000,
    "embedding": 990,
    "uploading": 4,
    "pending": 7_000,
    "failed": 6,
    "missing": 30,
}
BUSY = replace(
    STATUS,
    items={**ITEMS, "skipped": 0},
    duplicates=312,
    delayed=12,
    rates=Rates(38.1, 4_200_000.0, 190.0),
    actions_required=(ActionRequired("6 files could not be sent", 6, "sploot failed"), ActionRequired("b", 1, "c")),
)

STATUS_DONE = replace(STATUS, items={"total": 2, "ready": 2})


def test_the_sum_wraps_before_a_plus_and_is_complete():
    assert render.render_header(BUSY, PLAIN, 80) == [
        "sploot   running   local server: ok",
        "100,030 = 92,000 ready (312 duplicates) + 990 processing + 4 uploading",
        "  + 7,000 waiting (12 of them for later) + 6 failed + 30 missing",
        "4.2 MB/s, 38.1 files/s, about 3 min 10 s left",
        "action: 6 files could not be sent -> sploot failed  (1 more: sploot status)",
    ]


@given(width=st.integers(20, 200))
def test_the_header_fits_any_width(width: int):
    assert max(map(len, render.render_header(BUSY, PLAIN, width))) <= max(width, 40)


def test_the_pace_is_shown_only_while_there_is_one():
    assert render.render_pace(4, BUSY) == "4 uploading  990 processing  38.1 files/s"
    assert (render.render_pace(0, STATUS), render.render_pace(0, None)) == ("", "")


def test_a_server_error_replaces_the_rates():
    away = replace(
        BUSY.server, state="unreachable", detail="the server is\x1b away", retry_at="2026-01-01T10:00:00.000Z"
    )
    assert r"the server is\x1b away; retry at " in render.render_header(replace(BUSY, server=away), PLAIN, 80)[3]


def test_a_pause_has_a_hint():
    paused = replace(BUSY, daemon=replace(BUSY.daemon, state="paused"))
    assert render.render_header(paused, PLAIN, 80)[3] == "uploads are paused, 7,000 files waiting; to resume: p"


def test_finished_and_processing_are_distinguished():
    assert render.render_header(STATUS_DONE, PLAIN, 80)[2] == "no files waiting"
    embedding = replace(STATUS_DONE, items={"total": 2, "ready": 0, "embedding": 2})
    assert render.render_header(embedding, PLAIN, 80)[2] == "all files are uploaded; 2 files still being processed"


@given(
    name=st.text(st.characters(exclude_characters="/\0"), min_size=1, max_size=60),
    folder=st.sampled_from(["/", "/memes/", "/a/very/long/way/to/the/folder/of/memes/", "/写真/とても/長い/"]),
    message=st.one_of(st.none(), st.text(max_size=80)),
    width=st.integers(1, 140),
)
def test_a_row_fills_its_width_for_any_name(name: str, folder: str, message: str | None, width: int):
    text = "".join(render.render_row(row(1, path=folder + name, error_message=message), width))
    assert text.isprintable() or any(char in "\u200d\u202f" for char in text)
    assert cell_len(text) == width or any(char in "\u200d\ufe0f" for char in text)


def test_an_error_message_does_not_repeat_the_file_name():
    shown = "".join(render.render_row(row(1, "failed", error_message="meme 1.png: it is no picture"), 80)).rstrip()
    assert shown == " Failed       1.0 kB  /memes/meme 1.png   it is no picture"
    assert render.render_row(row(1, "failed", error_message="the disk is full"), 80)[2].strip() == "the disk is full"


def test_a_long_path_keeps_its_name():
    assert render.truncate_path("/a/very/long/way/to/cat.png", 20) == "…long/way/to/cat.png"
    assert render.truncate_path("/memes/cat.png", 9) == "…/cat.png"
    assert render.truncate_path("/memes/cat.png", 8) == "cat.png"
    assert render.truncate_path("/memes/a rather long name.png", 10) == "a rather …"


def test_files_in_progress_that_do_not_fit_are_counted():
    transfers = [Transfer(f"/m/{number}.png", 100, 50, 2_000_000.0) for number in range(6)]
    shown = render.render_active(transfers, (), 6, PLAIN, width=80, height=4)
    assert shown[0] == "[######------]  50%     50 B of 100 B     2.0 MB/s  /m/0.png"
    assert shown[3:] == ["and 3 more"]
    assert render.render_active([], (), 0, PLAIN, width=80, height=4) == ["no files"]
    assert "100%" in render.render_active([Transfer("/m", 0, 0, None)], (), 1, PLAIN, width=80, height=4)[0]
    shown = render.render_active(
        transfers[:1], [row(1, "embedding"), row(2, "embedding")], 990, PLAIN, width=80, height=4
    )
    assert shown[1:] == [
        "Processing                      1.0 kB              /memes/meme 1.png",
        "Processing                      2.0 kB              /memes/meme 2.png",
        "and 987 more",
    ]
    assert render.render_active(transfers, (), 6, PLAIN, width=80, height=1) == ["6 files"]


def test_the_metrics_fit_beside_the_queue_and_below_the_head():
    shown = render.render_metrics(BUSY, REPORT, PLAIN)
    assert max(map(len, shown)) <= 66
    assert "urgent queueing           3            10 ms    20 ms   500 ms" in shown
    assert not any("processing" in line for line in shown)


@pytest.mark.parametrize("width", [20, 40, 80, 120])
def test_the_most_important_keys_come_first(width: int):
    shown = render.render_key_hints(width)
    assert len(shown) <= width
    assert shown.startswith("? help")
    assert ("q quit" in shown) == (width >= 80)


def test_a_rate_covers_the_last_seconds():
    rates = TransferRates()
    assert rates.update([{"path": "/a", "size": 100, "sent": 0}], 0.0)[0].bytes_per_s is None
    assert rates.update([{"path": "/a", "size": 100, "sent": 10}], 0.5)[0].bytes_per_s == 20.0
    assert rates.update([{"path": "/a", "size": 100, "sent": 10}], 10.0)[0].bytes_per_s is None
    assert rates.update([{"path": "/a", "size": 100, "sent": 40}], 11.0)[0].bytes_per_s == 30.0


def test_another_attempt_resets_the_rate_and_finished_transfers_are_dropped():
    rates = TransferRates()
    rates.update([{"path": "/a", "size": 100, "sent": 90}], 0.0)
    assert rates.update([{"path": "/a", "size": 100, "sent": 5}], 1.0)[0].bytes_per_s is None
    assert rates.update([], 2.0) == []
    assert rates._samples == {}
