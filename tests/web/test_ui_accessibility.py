"""Accessibility of the web UI: keyboard, screen readers, themes, screen sizes, and any file name."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import memes
import pytest
from browser import chromium, open_view, signed_in, wait_for_pictures
from packages_of_npm import npm_package
from playwright.sync_api import Browser, BrowserContext, Page, ViewportSize, expect
from temp_home import Home, home_in

READ_TIMEOUT_S = 300  # for all captions, on a busy machine
pytestmark = [pytest.mark.models, pytest.mark.timeout(READ_TIMEOUT_S)]
SCREENSHOTS = Path(__file__).parents[2] / "build" / "web_ui"
VIEWS = ("library", "activity", "settings")
THEMES = ("light", "dark")
DESKTOP: ViewportSize = {"width": 1280, "height": 800}
PHONE: ViewportSize = {"width": 390, "height": 844}
HEBREW = "\u05e7\u05e4\u05d4 \u05e9\u05d7\u05d5\u05e8.png"
SPOOFED = "photo\u202egnp.exe.png"
SCROLLED_ROWS = "#states, #library .bar"  # on a phone each is a row of controls that scrolls in its own box
UNREACHABLE = """rows => [...document.querySelectorAll(rows)]
  .flatMap(row => [...row.querySelectorAll("button:enabled, select:enabled")])
  .filter(each => each.checkVisibility())
  .map(each => {
    each.focus();  // scrolls to a control outside of the row, but not to the rest of one that is cut off
    const focused = each.getBoundingClientRect();
    const isShown = document.activeElement === each && focused.left < innerWidth - 1 && focused.right > 1;
    each.scrollIntoView({inline: "nearest", block: "nearest"});
    const {left, right} = each.getBoundingClientRect();
    return isShown && left > -1 && right < innerWidth + 1 ? "" : `${each.textContent}: ${left} to ${right}`;
  }).filter(Boolean)"""
CONTROL_CHARACTERS = "red \x1b[31m alert\n.png"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    with home_in(tmp_path_factory.mktemp("web_ui") / "home") as home:
        folder = home.folder / "memes"
        drawn = memes.make(folder, count=5, seed=41, formats=("png",))
        for meme, name in zip(drawn, (HEBREW, SPOOFED, CONTROL_CHARACTERS), strict=False):
            meme.path.rename(folder / name)
        (folder / "broken.png").write_bytes(b"not a picture")
        os.rename(os.fsencode(drawn[4].path), os.fsencode(folder) + b"/not-\xff-utf8.png")  # noqa: PTH104 - a name of bytes
        home.run("add", "--wait", str(folder), timeout_s=READ_TIMEOUT_S)
        yield home


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def context(home: Home, browser: Browser) -> BrowserContext:
    return signed_in(home, browser, viewport=DESKTOP, reduced_motion="reduce")


@pytest.fixture(scope="module")
def screenshots() -> Path:
    """The folder that keeps a screenshot of every view, for review by eye."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    return SCREENSHOTS


@pytest.fixture
def page(context: BrowserContext, home: Home) -> Iterator[Page]:
    page = open_view(context, home, "activity")
    page.locator(".row[data-state]").first.wait_for()
    yield page
    page.close()


def open_settled(page: Page, view: str) -> None:
    """Switch to a view and wait until its content is loaded."""
    page.locator(f"#to-{view}").click()
    if view == "library":
        wait_for_pictures(page)
    elif view == "activity":
        expect(page.locator("#actions li")).to_have_count(1)
        page.locator(".row[data-state]").first.wait_for()


def violations(page: Page, axe: str) -> list[tuple[str, list[Any]]]:
    """Return what axe-core rates serious or worse, and where. The debugger bypasses the Content-Security-Policy."""
    page.evaluate(axe)
    found = page.evaluate("async () => (await axe.run(document)).violations")
    return [
        (rule["id"], [(node["target"], node["failureSummary"]) for node in rule["nodes"]])
        for rule in found
        if rule["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize("theme", THEMES)
def test_axe_finds_no_serious_violation_in_any_view(page: Page, theme: str, screenshots: Path):
    axe = (npm_package("axe-core", "4.14.1") / "axe.min.js").read_text("utf-8")
    page.emulate_media(color_scheme=theme)
    for view in VIEWS:
        open_settled(page, view)
        for size in (DESKTOP, PHONE):
            page.set_viewport_size(size)
            page.screenshot(path=screenshots / f"{view}-{theme}-{size['width']}.png")
            assert violations(page, axe) == [], (view, size)
    page.set_viewport_size(DESKTOP)
    page.keyboard.press("Control+Shift+M")
    expect(page.locator("#metrics-panel tbody tr").first).to_be_visible()
    page.screenshot(path=screenshots / f"metrics-{theme}.png")
    assert violations(page, axe) == []
    page.keyboard.press("Control+Shift+M")
    page.locator("#to-library").click()
    page.locator("#tile-0").click()
    page.wait_for_function("() => document.getElementById('picture').naturalWidth > 100")
    page.screenshot(path=screenshots / f"viewer-{theme}.png")
    assert violations(page, axe) == []


@pytest.mark.parametrize("size", [(360, 640), (3840, 2160)], ids=("360", "4K"))
def test_nothing_is_wider_than_the_screen(page: Page, size: tuple[int, int], screenshots: Path):
    width, height = size
    page.set_viewport_size({"width": width, "height": height})
    for view in VIEWS:
        open_settled(page, view)
        page.screenshot(path=screenshots / f"{view}-{width}.png")
        wide = page.evaluate(
            """rows => [...document.querySelectorAll("body *")]
            .filter(each => each.checkVisibility() && !each.closest(".visually-hidden"))
            .filter(each => {
              const row = each.parentElement.closest(rows);
              return !row || getComputedStyle(row).overflowX !== "auto";
            })
            .filter(each => each.getBoundingClientRect().right > innerWidth + 1).map(each => each.outerHTML)""",
            SCROLLED_ROWS,
        )
        assert wide == [], view
        assert page.evaluate(UNREACHABLE, SCROLLED_ROWS) == [], view


def test_control_and_bidi_characters_in_names_are_escaped(page: Page):
    names = [name[1:-1] for name in page.locator(".row bdi").all_text_contents()]
    assert HEBREW in names, "right-to-left names are unchanged"
    assert "photo\\u202egnp.exe.png" in names
    left_edges = page.evaluate(
        """() => [...document.querySelectorAll(".row bdi")].map(name => { const text = document.createRange();
        text.selectNodeContents(name); return Math.round(text.getBoundingClientRect().left) })"""
    )
    assert max(left_edges) - min(left_edges) < 300, "right-to-left names start in the same column"
    assert "red \\x1b[31m alert\\n.png" in names
    assert "not-\\xff-utf8.png" in names
    row = page.locator(".row", has_text="not-")
    row.dblclick()
    expect(page.locator("dialog")).to_contain_text("not-\\xff-utf8.png")


def test_every_function_works_with_the_keyboard_alone(page: Page, home: Home):
    page.keyboard.press("3")
    expect(page.locator("#settings")).to_be_visible()
    page.keyboard.press("1")
    expect(page.locator("#library")).to_be_visible()
    page.keyboard.press("/")
    expect(page.locator("#search")).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(page.locator("#tiles")).to_be_focused()
    page.keyboard.press("2")
    page.keyboard.press("/")
    page.keyboard.type("broken")
    expect(page.locator("#rows-count")).to_have_text("1 item")
    page.keyboard.press("Tab")
    expect(page.locator("#rows")).to_be_focused()  # skips the disabled buttons
    page.keyboard.press("Space")
    expect(page.locator("#retry")).to_be_disabled()  # the same bytes are no picture the next time, either
    for button in ("forget", "select-none"):
        page.keyboard.press("Shift+Tab")
        expect(page.locator(f"#{button}")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#rows")).to_be_focused()
    expect(page.locator("#forget")).to_be_disabled()
    active = page.locator("#rows").get_attribute("aria-activedescendant")
    assert "broken.png" in (page.locator(f"#{active}").get_attribute("aria-label") or "")
    page.keyboard.press("Enter")
    expect(page.locator("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("dialog")).to_have_count(0)  # a closing dialog restores the focus
    page.keyboard.press("?")
    expect(page.locator("dialog")).to_contain_text("Ctrl Shift M")
    page.keyboard.press("Escape")
    page.keyboard.press("p")
    expect(page.locator("#daemon-state")).to_have_text("Paused")
    page.keyboard.press("p")
    expect(page.locator("#daemon-state")).to_have_text("Running")


def test_a_row_shows_its_picture_and_leads_to_it(page: Page):
    thumbnail = page.locator(".row[data-state=ready] > img[src]").first
    expect(thumbnail).to_have_css("opacity", "1")
    thumbnail.evaluate("image => image.decode()")
    assert page.locator(".row[data-state=failed] > img[src]").count() == 0
    asset = (thumbnail.get_attribute("src") or "").split("/")[3]
    thumbnail.click()
    expect(page.locator("#library")).to_be_visible()
    assert page.evaluate("location.hash") == f"#library?i={asset}"


def test_the_state_filter_is_one_tab_stop_with_arrow_keys_inside(page: Page):
    page.locator("#states [data-state=all]").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#states [data-state=pending]")).to_be_focused()
    assert page.locator("#states [tabindex='0']").count() == 1


def test_reduced_motion_disables_transitions_and_animations(page: Page):
    moving = page.evaluate(
        """() => [...document.querySelectorAll("*")].filter(e => { const s = getComputedStyle(e);
        return s.transitionDuration !== "0s" || s.animationName !== "none" }).length"""
    )
    assert moving == 0


def test_the_completion_is_announced_to_screen_readers(page: Page):
    expect(page.locator("#announcement")).to_contain_text("1 file failed")
    assert page.locator("#announcement").get_attribute("role") == "status"
