"""The full screen, its keys pressed by the pilot of Textual and its daemon a list."""

import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from screens import FakeDaemon, row, shown, until
from sploot.topview.app import Top
from sploot.topview.link import Offline, Online, Told

from splootd.protocol import Bump, Forget, GetReport, GetStatus, ListItems, Retry


@asynccontextmanager
async def screen(daemon: FakeDaemon, width: int = 80, height: int = 24) -> AsyncIterator[tuple[Top, Any]]:
    app = Top(daemon)
    async with app.run_test(size=(width, height)) as pilot:
        await until(app, pilot, lambda: any("Queue" in line and " of " in line for line in shown(app)))
        yield app, pilot


def memes(count: int) -> FakeDaemon:
    return FakeDaemon([row(number + 1) for number in range(count)])


async def says(app: Top, pilot: Any, words: str) -> None:
    await until(app, pilot, lambda: any(words in line for line in shown(app)))


async def test_everything_is_on_a_screen_of_80_by_24():
    daemon = FakeDaemon([row(1, "ready"), row(2, "dead", reason="the server takes at most 10 MB"), row(3)])
    async with screen(daemon) as (app, pilot):
        moving = [{"path": "/memes/meme 3.png", "size": 2_000_000, "sent": 1_000_000}]
        daemon.tell(Told(has_changed=False, transfers=moving))
        await says(app, pilot, "50%")
        assert shown(app) == [
            "sploot   running   embedded library ok   breaker closed   news by websocket",
            "3 = 1 ready + 1 pending + 1 dead",
            "0 B/s, 0.0 files/s, time left: estimating",
            f"Sending {'─' * 70} 1",
            "[######------]  50%   1.0 MB of 2.0 MB              /memes/meme 3.png",
            "",
            "",
            "",
            f"Queue: all {'─' * 62} 1 of 3",
            " pending     3.0 kB  /memes/meme 3.png",
            " dead        2.0 kB  /memes/meme 2.png   the server takes at most 10 MB",
            " ready       1.0 kB  /memes/meme 1.png",
            *[""] * 11,
            "? help  / search  s state  r retry  b bump  f forget  p pause  m metrics  q quit",
        ]


async def test_names_cannot_speak_to_the_terminal():
    daemon = FakeDaemon([row(1, path="/memes/\x1b[2J\udcff\u202e.png", reason="a\nb\x07")])
    async with screen(daemon) as (app, pilot):
        await says(app, pilot, r"/memes/\x1b[2J\xff\u202e.png   a b\x07")
        await pilot.press("enter")
        await says(app, pilot, "Why")
        assert not any("\x1b" in line or "\udcff" in line for line in shown(app))


async def test_of_a_long_list_only_a_stretch_is_held_and_every_row_can_be_reached():
    daemon = memes(5000)
    async with screen(daemon) as (app, pilot):
        assert app._table.chosen.id == 5000
        await pilot.press("end")
        await until(app, pilot, lambda: app._table.chosen is not None and app._table.chosen.id == 1)
        await says(app, pilot, "5,000 of 5,000")
        assert len(app._window.rows) == 200
        await pilot.press("pageup", "up", "up")
        await says(app, pilot, "4,985 of 5,000")
        assert app._table.chosen.id == 16
        app._table.scroll_to(y=2500, animate=False)
        await until(app, pilot, lambda: app._window.row(2500) is not None)
        assert app._window.row(2500).id == 2500
        await pilot.press("home")
        await until(app, pilot, lambda: app._table.chosen is not None and app._table.chosen.id == 5000)
        assert max(each.limit for each in daemon.asked if isinstance(each, ListItems)) == 200


async def test_what_is_chosen_stays_chosen_while_newer_ones_come():
    daemon = memes(50)
    async with screen(daemon) as (app, pilot):
        await pilot.press("down", "down")
        assert app._table.chosen.id == 48
        daemon.rows += [row(51), row(52)]
        daemon.change(48, state="dead")
        await until(app, pilot, lambda: app._table.chosen is not None and app._table.chosen.state == "dead")
        assert app._table.chosen.id == 48
        await pilot.press("home")
        await until(app, pilot, lambda: app._table.chosen is not None and app._table.chosen.id == 52)
        daemon.rows += [row(53)]
        daemon.tell(Told(has_changed=True))
        await until(app, pilot, lambda: app._table.chosen.id == 53)


async def test_states_folders_and_words_choose_what_is_shown_and_escape_ends_it():
    daemon = FakeDaemon([row(1, "dead"), row(2, folder=None), row(3, path="/memes/Grumpy.png"), row(4)])
    async with screen(daemon) as (app, pilot):
        await pilot.press("s")
        await says(app, pilot, "Queue: pending")
        await until(app, pilot, lambda: [each.id for each in app._window.rows] == [4, 3, 2])
        await pilot.press("o")
        await until(app, pilot, lambda: [each.id for each in app._window.rows] == [4, 3])
        await says(app, pilot, "Queue: pending, /memes")
        await pilot.press("slash", *"Grumpy", "enter")
        await until(app, pilot, lambda: [each.id for each in app._window.rows] == [3])
        await says(app, pilot, 'Queue: pending, /memes, "Grumpy"')
        await pilot.press("escape")
        await until(app, pilot, lambda: [each.id for each in app._window.rows] == [4, 3, 2, 1])
        await pilot.press("S", "S", "S", "S")
        await says(app, pilot, "Queue: dead")
        await pilot.press("slash", *"nothing", "enter")
        await says(app, pilot, "none")


async def test_keys_change_the_file_that_is_chosen():
    daemon = FakeDaemon([row(1, "dead"), row(2)])
    async with screen(daemon) as (app, pilot):
        await pilot.press("b")
        await says(app, pilot, "1 file now first in line.")
        await pilot.press("r")
        await says(app, pilot, "Nothing to do: it has not failed.")
        await pilot.press("down", "r")
        await says(app, pilot, "1 file back in the queue.")
        assert [each for each in daemon.asked if isinstance(each, Bump | Retry)] == [
            Bump(("2",)),
            Retry((2,)),
            Retry((1,)),
        ]


async def test_forgetting_is_asked_about_and_any_other_key_is_no():
    daemon = memes(2)
    async with screen(daemon) as (app, pilot):
        for key in ("n", "escape", "enter", "q"):
            await pilot.press("f")
            await says(app, pilot, "Forget /memes/meme 2.png?  y: yes, any other key: no")
            await pilot.press(key)
            await says(app, pilot, "? help")
        assert daemon.count(Forget) == 0
        await pilot.press("f")
        await says(app, pilot, "Forget /memes/meme 2.png?")
        await pilot.press("y")
        await says(app, pilot, "1 file out of the queue.")
        assert [each for each in daemon.asked if isinstance(each, Forget)] == [Forget(("2",))]


async def test_one_key_pauses_and_goes_on():
    daemon = memes(1)
    async with screen(daemon) as (app, pilot):
        await pilot.press("p")
        await says(app, pilot, "sploot   paused")
        await says(app, pilot, "Sending is paused.")
        await pilot.press("p")
        await says(app, pilot, "sploot   running")


async def test_pages_of_help_and_of_a_story_come_and_go():
    daemon = memes(1)
    async with screen(daemon) as (app, pilot):
        await pilot.press("question_mark")
        await says(app, pilot, "the next watched folder")
        assert max(map(len, shown(app))) < 80
        await pilot.press("escape")
        await pilot.press("enter")
        await says(app, pilot, "next     It is sent as soon as it is its turn.")
        await pilot.press("q")
        await says(app, pilot, "Queue: all")


@pytest.mark.parametrize(("width", "height"), [(80, 24), (160, 40)])
@pytest.mark.parametrize("key", ["m", "ctrl+shift+m"])
async def test_a_key_shows_the_metrics_and_takes_them_away(width: int, height: int, key: str):
    daemon = memes(1)
    async with screen(daemon, width, height) as (app, pilot):
        await pilot.press(key)
        await says(app, pilot, "memory   312 MB now   401 MB peak   298 MB average of 5 min")
        await says(app, pilot, "upload                9,120      12    45 ms   120 ms    1.3 s")
        await says(app, pilot, "errors   rate_limited 12, unreachable 3")
        assert any("meme 1.png" in line for line in shown(app)) == (width == 160)
        await until(app, pilot, lambda: daemon.count(GetReport) >= 2)
        await pilot.press(key)
        await until(app, pilot, lambda: not any("memory" in line for line in shown(app)))


async def test_the_end_of_the_daemon_is_said_and_the_next_one_is_gone_on_with():
    daemon = memes(3)
    async with screen(daemon) as (app, pilot):
        daemon.is_away = True
        daemon.tell(Offline("The daemon was stopped."))
        await says(app, pilot, "no daemon: The daemon was stopped.")
        await pilot.press("s", "enter")
        assert any("3 = 3 pending" in line for line in shown(app))
        daemon.is_away = False
        daemon.rows.append(row(4))
        daemon.tell(Online())
        await says(app, pilot, "4 = 4 pending")
        await until(app, pilot, lambda: [each.id for each in app._window.rows] == [4, 3, 2, 1])
        assert not any("no daemon" in line for line in shown(app))


async def test_nothing_is_asked_while_nothing_happens_and_not_much_while_much_does():
    daemon = memes(3)
    async with screen(daemon) as (app, pilot):
        await until(app, pilot, lambda: daemon.count(ListItems) > 0 and not app._feed._is_stale)
        before = len(daemon.asked)
        for _ in range(3):
            app._tick()
            await pilot.pause()
        assert len(daemon.asked) == before
        for number in range(50):
            daemon.change(1, size=number)
            await pilot.pause()
        assert daemon.count(ListItems) < 25
        assert daemon.count(GetStatus) == 0, "it is told where everything stands"


async def test_without_colour_what_is_chosen_can_still_be_seen(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NO_COLOR", "1")
    daemon = FakeDaemon([row(1, "dead"), row(2)])
    async with screen(daemon) as (app, _):
        table = app._table
        assert table.render_line(0)._segments[0].style.reverse
        assert not table.render_line(1)._segments[0].style.reverse
        assert not app._style.is_on
        lines = [app._filters[-1].apply(list(table.render_line(1)), None)]
        assert all(segment.style.color.is_default for line in lines for segment in line)


async def test_quitting_ends_the_line_to_the_daemon():
    daemon = memes(1)
    async with screen(daemon) as (_, pilot):
        await pilot.press("q")
    assert daemon.is_closed


def test_only_this_command_imports_textual():
    """It takes longer to import than any other command takes to run."""
    code = """
import json, sys
import sploot.app, sploot.status, sploot.commands, sploot.top, sploot.looking, sploot.adding, sploot.changing
print(json.dumps([name for name in sys.modules if name.split(".")[0] in ("textual", "rich")]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
