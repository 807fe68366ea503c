"""The settings view, the first run, the theme and the page that lets a browser in again, in Chromium."""

from collections.abc import Iterator
from pathlib import Path

import memes
import pytest
from browser import chromium, open_view, signed_in
from playwright.sync_api import Browser, BrowserContext, Page, expect
from scripted_sploot import run_scripted_sploot
from temp_home import Home, home_in

from splootd.config import LIBRARY_TYPES

STARTED_TIMEOUT_S = 300  # for a local server, on a busy machine
DARK = "rgb(20, 20, 25)"
LIGHT = "rgb(247, 247, 249)"
BACKGROUND = "() => getComputedStyle(document.body).backgroundColor"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def sploot() -> Iterator[str]:
    with run_scripted_sploot() as (url, _):
        yield url


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, sploot: str) -> Iterator[Home]:
    with home_in(tmp_path_factory.mktemp("web_ui") / "home") as home:
        home.ok("config", "set", "server", sploot)
        home.ok("login", "--token-stdin", stdin=b"tok-5ecret")
        (home.folder / "Pictures" / "memes").mkdir(parents=True)
        yield home


@pytest.fixture(scope="module")
def context(home: Home, browser: Browser) -> BrowserContext:
    return signed_in(home, browser, viewport={"width": 1160, "height": 800}, color_scheme="light")


@pytest.fixture
def page(context: BrowserContext, home: Home) -> Iterator[Page]:
    page = open_view(context, home, "settings")
    yield page
    page.close()


def test_an_empty_library_is_the_place_to_drop_pictures_and_takes_a_folder(
    context: BrowserContext, home: Home, tmp_path: Path
):
    page = open_view(context, home, "library")
    first_run = page.locator(".first-run")
    expect(first_run).to_contain_text("sploot add FOLDER")
    drawn = memes.make(tmp_path / "trip" / "evening", count=2, seed=61)
    (tmp_path / "trip" / ".hidden.png").write_bytes(drawn[0].path.read_bytes())
    with page.expect_file_chooser() as chooser:
        first_run.get_by_role("button", name="Choose a folder").click()
    chooser.value.set_files(tmp_path / "trip")
    expect(page.locator("#toast")).to_contain_text("Added 2 files.")
    page.locator("#to-activity").click()
    expect(page.locator(".row bdi").first).to_have_attribute("data-folder", "added here")
    page.locator(".row").first.dblclick()
    expect(page.locator("dialog")).to_contain_text("Added on this page")
    page.close()


@pytest.mark.models
@pytest.mark.timeout(STARTED_TIMEOUT_S)
def test_the_first_page_of_an_empty_home_loads_the_library_when_it_has_started(browser: Browser, tmp_path: Path):
    with home_in(tmp_path / "home") as home:
        page = open_view(signed_in(home, browser), home, "library")
        expect(page.locator(".first-run")).to_be_visible(timeout=STARTED_TIMEOUT_S * 500)
        expect(page.locator("#tiles-message")).to_be_hidden()
        page.context.close()


def test_a_folder_is_completed_watched_and_no_longer_watched(page: Page, home: Home):
    page.locator("#watch-path").press_sequentially("~/pic")
    expect(page.locator("#watch-found option")).to_have_count(1)  # of two for the first letters
    expect(page.locator("#watch-found option")).to_have_attribute("value", str(home.folder / "Pictures"))
    page.locator("#watch-path").fill("~/Pictures/memes")
    page.keyboard.press("Enter")
    expect(page.locator("#toast")).to_contain_text("Watching \u2068~/Pictures/memes\u2069.")
    row = page.locator("#folders li")
    expect(row).to_contain_text("~/Pictures/memes")
    expect(row).to_contain_text("Watching")
    row.get_by_role("button", name="Stop watching").click()
    page.locator("dialog button.primary").click()
    expect(row).to_have_count(0)
    page.locator("#watch-path").fill("~/nothing")
    page.keyboard.press("Enter")
    expect(page.locator("#toast")).to_contain_text("does not exist")


def test_a_changed_setting_restarts_the_daemon_under_the_open_page(page: Page, home: Home):
    pid = home.daemon_pid()
    page.evaluate("() => { window.isNotReloaded = true }")
    page.get_by_label("Connections").select_option("2")
    expect(page.locator("#toast")).to_contain_text("Saved.")
    page.wait_for_function("() => document.querySelector('#setting-connections option[value=\"2\"][selected]')")
    assert home.ok("config", "get", "connections").strip() == "2"
    assert home.daemon_pid() == pid, "one process, which a service manager keeps watching"
    expect(page.locator("#offline")).to_be_hidden()
    page.get_by_label("Upload limit").fill("fast")
    page.get_by_label("Upload limit").blur()
    expect(page.locator("#toast")).to_contain_text("bandwidth_limit")
    expect(page.get_by_label("Upload limit")).to_have_value("")
    assert page.evaluate("() => window.isNotReloaded")


def test_file_types_are_chosen_by_name(page: Page, home: Home):
    types = page.get_by_role("group", name="File types")
    every = types.get_by_label("All that this computer can show")
    expect(types.get_by_role("checkbox")).to_have_count(1 + len(LIBRARY_TYPES))
    expect(every).to_be_checked()
    every.click()
    expect(every).to_be_checked()
    for name, value in (
        ("GIF", "image/gif"),
        ("AVIF", "image/gif,image/avif"),
        ("All that this computer can show", ""),
    ):
        page.evaluate("() => { document.querySelector('#fields .field').isOld = true }")
        types.get_by_label(name, exact=True).check()
        types.get_by_label(name, exact=True).blur()
        page.wait_for_function("() => !document.querySelector('#fields .field').isOld")  # the daemon has restarted
        assert home.ok("config", "get", "library_types").strip() == value
        checked = [each.get_attribute("value") for each in types.get_by_role("checkbox", checked=True).all()]
        assert checked == value.split(",")


def test_another_library_is_used_only_after_a_confirmation(page: Page, home: Home, sploot: str):
    home.ok("add", str(home.folder / "Pictures"))
    expect(page.locator("#folders li")).to_contain_text("~/Pictures")
    field = page.locator("#server-url")
    expect(field).to_have_value(sploot)
    field.fill("http://127.0.0.1:1")
    page.keyboard.press("Enter")
    dialog = page.locator("dialog")
    expect(dialog).to_contain_text("(~/Pictures) will be uploaded to http://127.0.0.1:1")
    dialog.get_by_role("button", name="Cancel").click()
    assert home.ok("config", "get", "server").strip() == sploot
    page.locator("#change-server button").click()
    dialog.get_by_role("button", name="Change").click()
    expect(page.locator("#server")).to_contain_text("http://127.0.0.1:1")
    assert home.ok("config", "get", "server").strip() == "http://127.0.0.1:1"


def test_the_theme_is_the_one_of_the_system_until_it_is_chosen(page: Page):
    assert page.evaluate(BACKGROUND) == LIGHT
    page.get_by_role("radio", name="Dark").click()
    assert page.evaluate(BACKGROUND) == DARK
    page.reload()
    assert page.evaluate(BACKGROUND) == DARK
    page.get_by_role("radio", name="System").click()
    assert page.evaluate(BACKGROUND) == LIGHT
    page.emulate_media(color_scheme="dark")
    assert page.evaluate(BACKGROUND) == DARK


def test_a_browser_that_is_not_let_in_is_told_what_to_run_in_both_themes(page: Page, browser: Browser):
    stranger = browser.new_context(viewport={"width": 390, "height": 844}).new_page()
    for theme, color in (("light", LIGHT), ("dark", DARK)):
        stranger.emulate_media(color_scheme=theme)  # type: ignore[arg-type]  # one of its literals
        response = stranger.goto(page.url.partition("#")[0])
        assert response is not None
        assert response.status == 401
        expect(stranger.locator("code")).to_have_text("sploot ui")
        assert stranger.evaluate("() => getComputedStyle(document.documentElement).backgroundColor") == color
    stranger.context.close()
