"""What goes on now, in a real browser: uploads, a daemon that dies, ten tabs, and the numbers over the page."""

import signal
from collections.abc import Iterator
from pathlib import Path

import memes
import pytest
from browser import chromium, entered, shown
from homes import Home, home_in
from playwright.sync_api import Browser, BrowserContext, Page, expect

pytestmark = pytest.mark.models
TABS = 10


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    with home_in(tmp_path_factory.mktemp("page") / "home") as home:
        yield home


@pytest.fixture(scope="module")
def context(home: Home, browser: Browser) -> BrowserContext:
    return entered(home, browser, viewport={"width": 1280, "height": 800})


def test_an_upload_goes_from_pending_to_ready_without_a_reload(context: BrowserContext, home: Home, tmp_path: Path):
    page = shown(context, home, "queue")
    page.evaluate("() => { window.isTheSame = true }")
    (meme,) = memes.make(tmp_path, count=1, seed=31)
    home.ok("pause")
    home.ok("add", str(meme.path))
    row = page.locator(".row", has_text=meme.path.name)
    expect(row).to_have_attribute("data-state", "pending")
    expect(page.locator("#standing")).to_have_text("paused")
    row.click()
    page.locator("#bump").click()
    expect(page.locator("#said")).to_contain_text("1 file now first in line.")
    expect(row).to_have_attribute("data-says", "urgent")
    expect(page.locator("#rows")).to_be_focused()
    page.locator("#pause").click()
    expect(row).to_have_attribute("data-state", "ready", timeout=60_000)
    expect(page.locator("#states [data-state=ready]")).to_contain_text("1")
    assert page.evaluate("() => window.isTheSame")
    page.close()


def test_files_dropped_on_the_page_are_queued_and_get_into_the_library(
    context: BrowserContext, home: Home, tmp_path: Path
):
    page = shown(context, home, "queue")
    drawn = memes.make(tmp_path, count=3, seed=32)
    page.locator("#picker").set_input_files([meme.path for meme in drawn])
    expect(page.locator("#said")).to_contain_text("3 files queued.")
    for meme in drawn:
        row = page.locator(".row", has_text=meme.path.stem)
        expect(row).to_have_attribute("data-state", "ready", timeout=60_000)
    page.close()


def test_a_folder_dropped_on_the_page_is_queued_with_all_that_lies_in_it(
    context: BrowserContext, home: Home, tmp_path: Path
):
    page = shown(context, home, "queue")
    drawn = memes.make(tmp_path / "trip" / "day 2" / "evening", count=3, seed=37)
    drawn[0].path.rename(tmp_path / "trip" / drawn[0].path.name)
    (tmp_path / "trip" / ".hidden.png").write_bytes(b"left alone")
    mouse = context.new_cdp_session(page)
    load = {"items": [], "files": [str(tmp_path / "trip")], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        mouse.send("Input.dispatchDragEvent", {"type": kind, "x": 400, "y": 400, "data": load})
        if kind == "dragOver":
            expect(page.locator("#drop-here")).to_be_visible()
    expect(page.locator("#said")).to_contain_text("3 files queued.")
    expect(page.locator("#drop-here")).to_be_hidden()
    for meme in drawn:
        row = page.locator(".row", has_text=meme.path.stem)
        expect(row).to_have_attribute("data-state", "ready", timeout=60_000)
    page.close()


def test_the_counts_add_up_and_lead_into_the_queue(context: BrowserContext, home: Home):
    page = shown(context, home, "now")
    expect(page.locator("#sum-total")).to_have_text(str(home.json("status")["items"]["total"]))
    numbers = [int(text.replace(",", "")) for text in page.locator("#sum button").all_text_contents()]
    assert sum(numbers) == int(page.locator("#sum-total").text_content() or "")
    assert len(numbers) == 7
    expect(page.locator("#server")).to_contain_text("closed")
    page.locator("#sum button[data-state=ready]").click()
    expect(page.locator("#states [data-state=ready]")).to_have_attribute("aria-checked", "true")
    page.close()


def test_what_needs_the_user_comes_with_the_button_that_mends_it(context: BrowserContext, home: Home, tmp_path: Path):
    page = shown(context, home, "now")
    bad = tmp_path / "no-picture.png"
    bad.write_bytes(b"nothing of a picture")
    home.run("add", str(bad), "--wait")
    expect(page.locator("#needs li")).to_contain_text("1 file could not be sent")
    (good,) = memes.make(tmp_path, count=1, seed=33, formats=("png",))
    good.path.replace(bad)
    page.locator("#needs button", has_text="Show them").click()
    row = page.locator(".row", has_text="no-picture")
    expect(row).to_be_visible()
    page.locator("#to-now").click()
    page.locator("#needs button", has_text="Retry all").click()
    expect(page.locator("#needs-none")).to_be_visible(timeout=60_000)
    page.close()


def test_watched_folders_show_their_health(context: BrowserContext, home: Home, tmp_path: Path):
    page = shown(context, home, "now")
    folder = tmp_path / "holiday"
    folder.mkdir()
    home.ok("add", str(folder))
    memes.make(folder, count=2, seed=38)
    line = page.locator("#folders li", has_text="holiday")
    expect(line).to_contain_text("watching")
    expect(line).to_contain_text("2 files")
    line.locator(".path").click()
    expect(page.locator("#folder")).to_have_value(str(folder))
    expect(page.locator("#rows-count")).to_have_text("2 items")
    page.locator("#to-now").click()
    line.locator("button", has_text="Stop watching").click()
    page.locator("dialog button.main").click()
    expect(line).to_have_count(0)
    page.close()


SEEN_CHANGES = """
async (times) => {
  const chart = document.querySelector("#overlay canvas");
  const changes = [];
  for (let before = chart.toDataURL(); changes.length < times; await new Promise(requestAnimationFrame)) {
    const now = chart.toDataURL();
    if (now !== before) changes.push(performance.now());
    before = now;
  }
  return changes;
}
"""


def test_the_metrics_are_told_once_a_second_while_they_are_open_and_never_otherwise(
    context: BrowserContext, home: Home
):
    page = shown(context, home, "library")
    expect(page.locator("#tiles-count")).to_contain_text("meme")  # that was a call
    page.locator("#to-now").click()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url.partition("/v1/")[2]))
    page.keyboard.press("Control+Shift+M")
    expect(page.locator("#overlay")).to_be_visible()
    expect(page.locator("#overlay tbody")).to_contain_text("ms")
    changes = page.evaluate(SEEN_CHANGES, 4)
    assert (changes[-1] - changes[0]) / 3 > 500, "not more often than once a second"
    assert page.evaluate(
        """() => [...document.querySelectorAll("#overlay canvas")].every(canvas => canvas.width > 0)"""
    )
    for word in ("Throughput", "Memory", "Errors", "p50", "p95", "p99"):
        expect(page.locator("#overlay")).to_contain_text(word)
    page.keyboard.press("Control+Shift+M")
    expect(page.locator("#overlay")).to_be_hidden()
    page.wait_for_timeout(1500)  # longer than the pause between two looks
    assert [each for each in asked if each] == [], "it is pushed"
    page.close()


def test_ten_tabs_follow_one_stream_and_go_on_after_the_daemon_was_killed(
    context: BrowserContext, home: Home, tmp_path: Path
):
    """Ten streams would use up the six connections that a browser gives a host."""
    tabs: list[Page] = [shown(context, home, "queue") for _ in range(TABS)]
    for tab in tabs:
        tab.evaluate("() => { window.isTheSame = true }")
    drawn = memes.make(tmp_path, count=2, seed=34)
    home.ok("add", str(drawn[0].path))
    for tab in tabs:
        expect(tab.locator(".row", has_text=drawn[0].path.name)).to_have_attribute(
            "data-state", "ready", timeout=60_000
        )
    assert home.kill_daemon(signal.SIGKILL)
    for tab in tabs:
        expect(tab.locator("#offline")).to_contain_text("The daemon cannot be reached.")
        expect(tab.locator("#standing")).to_have_text("no daemon")
    home.ok("daemon", "start")
    home.ok("add", str(drawn[1].path))
    for tab in tabs:
        expect(tab.locator("#offline")).to_be_hidden()
        expect(tab.locator(".row", has_text=drawn[1].path.name)).to_have_attribute(
            "data-state", "ready", timeout=60_000
        )
        assert tab.evaluate("() => window.isTheSame"), "without a reload"
        tab.close()
