"""The terminal UI, driven by the pilot of Textual, with a fake daemon."""

import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from screens import FakeDaemon, row, shown, until
from sploot.tui.app import TopApp
from sploot.tui.daemon_link import DataUpdate, Offline, Online
from sploot.tui.page_loader import RELOAD_INTERVAL_S

from splootd.protocol import Bump, Forget, GetReport, GetStatus, ListItems, Retry


@asynccontextmanager
async def screen(daemon: FakeDaemon, width: int = 80, height: int = 24) -> AsyncIterator[tuple[TopApp, Any]]:
    app = TopApp(daemon)
    async with app.run_test(size=(width, height)) as pilot:
        await until(app, pilot, lambda: any("Queue" in line and " of " in line for line in shown(app)))
        yield app, pilot


def memes(count: int) -> FakeDaemon:
    return FakeDaemon([row(number + 1) for number in range(count)])


async def text_appears(app: TopApp, pilot: Any, words: str) -> None:
    await until(app, pilot, lambda: any(words in line for line in shown(app)))


async def test_everything_is_on_a_screen_of_80_by_24():
    failed = row(2, "failed", error_message="the server takes at most 10 MB")
    daemon = FakeDaemon([row(1, "embedding"), failed, row(3), row(4)])
    async with screen(daemon) as (app, pilot):
        moving = [{"path": "/memes/meme 3.png", "size": 2_000_000, "sent": 1_000_000}]
        daemon.send(DataUpdate(has_changed=False, transfers=moving))
        await text_appears(app, pilot, "50%")
        await text_appears(app, pilot, "Processing    ")
        assert shown(app) == [
            "sploot   running   local server: ok",
            "4 = 1 processing + 2 waiting + 1 failed",
            "nothing is being sent right now",
            f"In progress {'─' * 42} 1 uploading  1 processing",
            "[######------]  50%   1.0 MB of 2.0 MB              /memes/meme 3.png",
            "Processing                      1.0 kB              /memes/meme 1.png",
            "",
            "",
            f"Queue: all {'─' * 62} 1 of 4",
            " Waiting      4.0 kB  /memes/meme 4.png",
            " Waiting      3.0 kB  /memes/meme 3.png",
            " Failed       2.0 kB  /memes/meme 2.png   the server takes at most 10 MB",
            " Processing   1.0 kB  /memes/meme 1.png",
            *[""] * 10,
            "? help  / search  s state  r retry  b bump  f forget  p pause  m metrics  q quit",
        ]
        daemon.change(1, state="ready")
        await text_appears(app, pilot, "4 = 1 ready + 2 waiting + 1 failed")
        await until(app, pilot, lambda: not any("Processing" in line for line in shown(app)))


async def test_file_names_cannot_send_escape_sequences():
    daemon = FakeDaemon([row(1, path="/memes/\x1b[2J\udcff\u202e.png", error_message="a\nb\x07")])
    async with screen(daemon) as (app, pilot):
        await text_appears(app, pilot, r"/memes/\x1b[2J\xff\u202e.png   a b\x07")
        await pilot.press("enter")
        await text_appears(app, pilot, "Why")
        assert not any("\x1b" in line or "\udcff" in line for line in shown(app))


async def test_only_a_part_of_a_long_list_is_loaded_and_every_row_is_reachable():
    daemon = memes(5000)
    async with screen(daemon) as (app, pilot):
        assert app._table.selected_row.id == 5000
        await pilot.press("end")
        await until(app, pilot, lambda: app._table.selected_row is not None and app._table.selected_row.id == 1)
        await text_appears(app, pilot, "5,000 of 5,000")
        assert len(app._window.rows) == 200
        await pilot.press("pageup", "up", "up")
        await text_appears(app, pilot, "4,985 of 5,000")
        assert app._table.selected_row.id == 16
        app._table.scroll_to(y=2500, animate=False)
        await until(app, pilot, lambda: app._window.row(2500) is not None)
        assert app._window.row(2500).id == 2500
        await pilot.press("home")
        await until(app, pilot, lambda: app._table.selected_row is not None and app._table.selected_row.id == 5000)
        assert max(each.limit for each in daemon.requests if isinstance(each, ListItems)) == 200


async def test_the_selection_stays_while_newer_items_arrive():
    daemon = memes(50)
    async with screen(daemon) as (app, pilot):
        await pilot.press("down", "down")
        assert app._table.selected_row.id == 48
        daemon.rows += [row(51), row(52)]
        daemon.change(48, state="failed")
        await until(
            app, pilot, lambda: app._table.selected_row is not None and app._table.selected_row.state == "failed"
        )
        assert app._table.selected_row.id == 48
        await pilot.press("home")
        await until(app, pilot, lambda: app._table.selected_row is not None and app._table.selected_row.id == 52)
        daemon.rows += [row(53)]
        daemon.send(DataUpdate(has_changed=True))
        await until(app, pilot, lambda: app._table.selected_row.id == 53)


async def test_state_folder_and_text_filter_the_list_and_escape_clears_them():
    daemon = FakeDaemon([row(1, "failed"), row(2, folder=None), row(3, path="/memes/Grumpy.png"), row(4)])
    async with screen(daemon) as (app, pilot):
        await pilot.press("s")
        await text_appears(app, pilot, "Queue: Waiting")
        await until(app, pilot, lambda: [each.id for each in app._window.rows] == [4, 3, 2])
        await pilot.press("n")
        await until(app, pilot, lambda: [each.id for each in app._window.rows] == [4, 3])
        await text_appears(app, pilot, "Queue: Waiting, /memes")
        await pilot.press("slash", *"Grumpy", "enter")
        await until(app, pilot, lambda: [each.id for each in app._window.rows] == [3])
        await text_appears(app, pilot, 'Queue: Waiting, /memes, "Grumpy"')
        await pilot.press("escape")
        await until(app, pilot, lambda: [each.id for each in app._window.rows] == [4, 3, 2, 1])
        await pilot.press("S", "S", "S", "S")
        await text_appears(app, pilot, "Queue: Failed")
        await pilot.press("slash", *"nothing", "enter")
        await text_appears(app, pilot, "none")


async def test_keys_change_the_selected_file():
    daemon = FakeDaemon([row(1, "failed"), row(2)])
    async with screen(daemon) as (app, pilot):
        await pilot.press("b")
        await text_appears(app, pilot, "1 file moved to the front of the queue.")
        await pilot.press("r")
        await text_appears(app, pilot, "Nothing to do: the file has not failed.")
        await pilot.press("down", "r")
        await text_appears(app, pilot, "1 file back in the queue.")
        assert [each for each in daemon.requests if isinstance(each, Bump | Retry)] == [
            Bump(("2",)),
            Retry((2,)),
            Retry((1,)),
        ]


async def test_a_key_opens_the_selected_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    opened, program = tmp_path / "opened", tmp_path / "xdg-open"
    program.write_text(f'#!/bin/sh\nprintf %s "$1" > "{opened}.part" && mv "{opened}.part" "{opened}"\n')
    program.chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    async with screen(memes(3)) as (app, pilot):
        await text_appears(app, pilot, "meme 3.png")
        await pilot.press("o")
        await until(app, pilot, opened.exists)
    assert opened.read_text() == "/memes/meme 3.png"


async def test_forget_asks_for_confirmation_and_any_other_key_means_no():
    daemon = memes(2)
    async with screen(daemon) as (app, pilot):
        for key in ("n", "escape", "enter", "q"):
            await pilot.press("f")
            await text_appears(app, pilot, "Remove from the queue: /memes/meme 2.png?  y: yes, any other key: no")
            await pilot.press(key)
            await text_appears(app, pilot, "? help")
        assert daemon.count(Forget) == 0
        await pilot.press("f")
        await text_appears(app, pilot, "Remove from the queue: /memes/meme 2.png?")
        await pilot.press("y")
        await text_appears(app, pilot, "1 file removed from the queue.")
        assert [each for each in daemon.requests if isinstance(each, Forget)] == [Forget(("2",))]


async def test_one_key_pauses_and_resumes():
    daemon = memes(1)
    async with screen(daemon) as (app, pilot):
        await pilot.press("p")
        await text_appears(app, pilot, "sploot   paused")
        await text_appears(app, pilot, "Uploads are paused.")
        await pilot.press("p")
        await text_appears(app, pilot, "sploot   running")


async def test_help_and_explanation_open_and_close():
    daemon = memes(1)
    async with screen(daemon) as (app, pilot):
        await pilot.press("question_mark")
        await text_appears(app, pilot, "the next watched folder")
        assert max(map(len, shown(app))) < 80
        await pilot.press("escape")
        await pilot.press("enter")
        await text_appears(app, pilot, "next     It is uploaded next.")
        await pilot.press("q")
        await text_appears(app, pilot, "Queue: all")


@pytest.mark.parametrize(("width", "height"), [(80, 24), (160, 40)])
@pytest.mark.parametrize("key", ["m", "ctrl+shift+m"])
async def test_a_key_toggles_the_metrics(width: int, height: int, key: str):
    daemon = memes(1)
    async with screen(daemon, width, height) as (app, pilot):
        await pilot.press(key)
        await text_appears(app, pilot, "memory   312 MB now   401 MB peak   298 MB average of 5 min")
        await text_appears(app, pilot, "upload                9,120      12    45 ms   120 ms    1.3 s")
        await text_appears(app, pilot, "errors   rate_limited 12, unreachable 3")
        assert any("meme 1.png" in line for line in shown(app)) == (width == 160)
        await until(app, pilot, lambda: daemon.count(GetReport) >= 2)
        await pilot.press(key)
        await until(app, pilot, lambda: not any("memory" in line for line in shown(app)))


async def test_a_stop_of_the_daemon_is_reported_and_the_next_one_is_used():
    daemon = memes(3)
    async with screen(daemon) as (app, pilot):
        daemon.is_offline = True
        daemon.send(Offline("The daemon was stopped."))
        await text_appears(app, pilot, "offline: The daemon was stopped.")
        await pilot.press("s", "enter")
        assert any("3 = 3 waiting" in line for line in shown(app))
        daemon.is_offline = False
        daemon.rows.append(row(4))
        daemon.send(Online())
        await text_appears(app, pilot, "4 = 4 waiting")
        await until(app, pilot, lambda: [each.id for each in app._window.rows] == [4, 3, 2, 1])
        assert not any("offline" in line for line in shown(app))


async def test_no_requests_while_idle_and_few_under_load():
    daemon = memes(3)
    async with screen(daemon) as (app, pilot):
        await until(app, pilot, lambda: daemon.count(ListItems) > 0 and not app._page_loader._is_stale)
        before = len(daemon.requests)
        for _ in range(3):
            app._tick()
            await pilot.pause()
        assert len(daemon.requests) == before
        began_at = time.monotonic()
        for number in range(50):
            daemon.change(1, size=number)
            await pilot.pause()
        assert daemon.count(ListItems) <= 2 + (time.monotonic() - began_at) / RELOAD_INTERVAL_S
        assert daemon.count(GetStatus) == 0, "the status comes with the events"


async def test_without_colour_the_selection_is_still_visible(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NO_COLOR", "1")
    daemon = FakeDaemon([row(1, "failed"), row(2)])
    async with screen(daemon) as (app, _):
        table = app._table
        assert table.render_line(0)._segments[0].style.reverse
        assert not table.render_line(1)._segments[0].style.reverse
        assert not app._style.is_on
        lines = [app._filters[-1].apply(list(table.render_line(1)), None)]
        assert all(segment.style.color.is_default for line in lines for segment in line)


async def test_quitting_closes_the_connection_to_the_daemon():
    daemon = memes(1)
    async with screen(daemon) as (_, pilot):
        await pilot.press("q")
    assert daemon.is_closed


def test_only_this_command_imports_textual():
    """Importing Textual takes longer than any other command takes to run."""
    code = """
import json, sys
import sploot.main, sploot.typer_app
sploot.typer_app.build_app()
print(json.dumps([name for name in sys.modules if name.split(".")[0] in ("textual", "rich")]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
