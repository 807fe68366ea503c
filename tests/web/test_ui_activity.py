"""The activity view, uploads, the metrics panel and the shared event stream in Chromium."""

import signal
from collections.abc import Iterator
from pathlib import Path

import memes
import pytest
from browser import chromium, open_view, signed_in
from playwright.sync_api import Browser, BrowserContext, Page, expect
from scripted_sploot import run_scripted_sploot
from temp_home import Home, home_in

TABS = 7  # one more than the connections that a browser opens to a host


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    with (
        run_scripted_sploot() as (url, _),
        home_in(tmp_path_factory.mktemp("web_ui") / "home", SPLOOT_SERVER=url, SPLOOT_TOKEN="token") as home,
    ):
        yield home


@pytest.fixture(scope="module")
def context(home: Home, browser: Browser) -> BrowserContext:
    return signed_in(home, browser, viewport={"width": 1280, "height": 800})


def test_an_upload_goes_from_pending_to_ready_without_a_reload(context: BrowserContext, home: Home, tmp_path: Path):
    page = open_view(context, home, "activity")
    page.evaluate("() => { window.isNotReloaded = true }")
    (meme,) = memes.make(tmp_path, count=1, seed=31)
    home.ok("pause")
    home.ok("add", str(meme.path))
    row = page.locator(".row", has_text=meme.path.name)
    expect(row).to_have_attribute("data-state", "pending")
    expect(page.locator("#daemon-state")).to_have_text("Paused")
    row.click()
    page.locator("#bump").click()
    expect(page.locator("#toast")).to_contain_text("1 file moved to the front of the queue.")
    expect(row).to_have_attribute("data-label", "Next")
    expect(page.locator("#rows")).to_be_focused()
    page.locator("#pause").click()
    expect(row).to_have_attribute("data-state", "ready", timeout=60_000)
    expect(page.locator("#states [data-state=ready]")).to_contain_text("1")
    assert page.evaluate("() => window.isNotReloaded")
    page.close()


def test_chosen_files_are_queued_and_uploaded(context: BrowserContext, home: Home, tmp_path: Path):
    page = open_view(context, home, "activity")
    drawn = memes.make(tmp_path, count=3, seed=32)
    page.locator("#picker").set_input_files([meme.path for meme in drawn])
    expect(page.locator("#toast")).to_contain_text("Added 3 files.")
    for meme in drawn:
        row = page.locator(".row", has_text=meme.path.stem)
        expect(row).to_have_attribute("data-state", "ready", timeout=60_000)
    page.close()


def test_a_dropped_folder_is_queued_with_its_subfolders(context: BrowserContext, home: Home, tmp_path: Path):
    page = open_view(context, home, "activity")
    drawn = memes.make(tmp_path / "trip" / "day 2" / "evening", count=3, seed=37)
    drawn[0].path.rename(tmp_path / "trip" / drawn[0].path.name)
    (tmp_path / "trip" / ".hidden.png").write_bytes(b"not added")
    mouse = context.new_cdp_session(page)
    load = {"items": [], "files": [str(tmp_path / "trip")], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        mouse.send("Input.dispatchDragEvent", {"type": kind, "x": 400, "y": 400, "data": load})
        if kind == "dragOver":
            expect(page.locator("#drop-hint")).to_be_visible()
    expect(page.locator("#toast")).to_contain_text("Added 3 files.")
    expect(page.locator("#drop-hint")).to_be_hidden()
    for meme in drawn:
        row = page.locator(".row", has_text=meme.path.stem)
        expect(row).to_have_attribute("data-state", "ready", timeout=60_000)
    page.close()


def test_the_counts_add_up(context: BrowserContext, home: Home):
    page = open_view(context, home, "activity")
    total = home.json("status")["items"]["total"]
    expect(page.locator("#states [data-state=all]")).to_contain_text(str(total))
    numbers = [int(text.split()[-1].replace(",", "")) for text in page.locator("#states button").all_text_contents()]
    assert numbers[0] == sum(numbers[1:]) == total
    assert len(numbers) == 1 + 7
    expect(page.locator("#progress")).to_be_hidden()
    page.close()


def test_what_needs_the_user_is_counted_in_the_navigation_and_has_a_button(
    context: BrowserContext, home: Home, tmp_path: Path
):
    page = open_view(context, home, "library")
    expect(page.locator("#attention")).to_be_hidden()
    bad = tmp_path / "no-picture.png"
    bad.write_bytes(b"not a picture")
    home.run("add", str(bad), "--wait")
    expect(page.locator("#attention")).to_have_text("1")
    page.locator("#to-activity").click()
    expect(page.locator("#actions li")).to_contain_text("1 file failed")
    page.locator("#actions button", has_text="Show").click()
    row = page.locator(".row", has_text="no-picture")
    expect(row).to_be_visible()
    (good,) = memes.make(tmp_path, count=1, seed=33, formats=("png",))
    good.path.replace(bad)
    row.click()
    expect(page.locator("#retry")).to_be_disabled()
    row.dblclick()  # the explanation looks at the file, which is another one now
    page.locator("dialog").get_by_role("button", name="Retry").click()
    expect(page.locator("#attention")).to_be_hidden(timeout=60_000)
    expect(page.locator("#actions li")).to_have_count(0)
    page.close()


def test_watched_folders_show_their_health(context: BrowserContext, home: Home, tmp_path: Path):
    page = open_view(context, home, "settings")
    folder = tmp_path / "holiday"
    folder.mkdir()
    home.ok("add", str(folder))
    memes.make(folder, count=2, seed=38)
    row = page.locator("#folders li", has_text="holiday")
    expect(row).to_contain_text("Watching")
    expect(row).to_contain_text("2 files")
    row.locator(".path").click()
    expect(page.locator("#folder")).to_have_value(str(folder))
    expect(page.locator("#rows-count")).to_have_text("2 items")
    page.locator("#to-settings").click()
    row.locator("button", has_text="Stop watching").click()
    page.locator("dialog button.primary").click()
    expect(row).to_have_count(0)
    page.close()


CHANGE_TIMES = """
async (times) => {
  const chart = document.querySelector("#metrics-panel canvas");
  const changes = [];
  for (let before = chart.toDataURL(); changes.length < times; await new Promise(requestAnimationFrame)) {
    const now = chart.toDataURL();
    if (now !== before) changes.push(performance.now());
    before = now;
  }
  return changes;
}
"""


def test_metrics_are_pushed_once_a_second_while_their_panel_is_open(context: BrowserContext, home: Home):
    page = open_view(context, home, "settings")
    expect(page.get_by_label("Connections")).to_be_visible()
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url.partition("/v1/")[2]))
    page.keyboard.press("Control+Shift+M")
    expect(page.locator("#metrics-panel")).to_be_visible()
    expect(page.locator("#metrics-panel tbody")).to_contain_text("ms")
    changes = page.evaluate(CHANGE_TIMES, 4)
    assert (changes[-1] - changes[0]) / 3 > 500, "not more often than once a second"
    assert page.evaluate(
        """() => [...document.querySelectorAll("#metrics-panel canvas")].every(canvas => canvas.width > 0)"""
    )
    for word in ("Throughput", "Memory", "Errors", "p50", "p95", "p99"):
        expect(page.locator("#metrics-panel")).to_contain_text(word)
    page.keyboard.press("Control+Shift+M")
    expect(page.locator("#metrics-panel")).to_be_hidden()
    page.wait_for_timeout(1500)  # longer than the interval of the metrics events
    assert [each for each in requests if each] == [], "nothing is polled"
    page.close()


def test_many_tabs_share_one_stream_and_reconnect_after_the_daemon_is_killed(
    context: BrowserContext, home: Home, tmp_path: Path
):
    """A stream per tab would exceed the six connections that a browser opens to a host."""
    tabs: list[Page] = [open_view(context, home, "activity") for _ in range(TABS)]
    for tab in tabs:
        tab.evaluate("() => { window.isNotReloaded = true }")
    drawn = memes.make(tmp_path, count=2, seed=34)
    home.ok("add", str(drawn[0].path))
    for tab in tabs:
        expect(tab.locator(".row", has_text=drawn[0].path.name)).to_have_attribute(
            "data-state", "ready", timeout=60_000
        )
    assert home.kill_daemon(signal.SIGKILL)
    for tab in tabs:
        expect(tab.locator("#offline")).to_contain_text("The daemon cannot be reached.")
        expect(tab.locator("#offline code")).to_have_text("sploot daemon start")
        expect(tab.locator("#daemon-state")).to_have_text("No daemon")
    home.ok("daemon", "start")
    home.ok("add", str(drawn[1].path))
    for tab in tabs:
        expect(tab.locator("#offline")).to_be_hidden()
        expect(tab.locator(".row", has_text=drawn[1].path.name)).to_have_attribute(
            "data-state", "ready", timeout=60_000
        )
        assert tab.evaluate("() => window.isNotReloaded"), "without a reload"
        tab.close()
