"""The page for everyone: by keyboard, for screen readers, dark and light, small and large, with any name of a file."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import memes
import pytest
from browser import chromium, entered, pictures_shown, shown
from homes import Home, home_in
from packages_of_npm import npm_package
from playwright.sync_api import Browser, BrowserContext, Page, expect

pytestmark = pytest.mark.models
ALBUM = Path(__file__).parents[2] / "build" / "page"
VIEWS = ("queue", "library", "now")
THEMES = ("light", "dark")
HEBREW = "\u05e7\u05e4\u05d4 \u05e9\u05d7\u05d5\u05e8.png"
SLY = "photo\u202egnp.exe.png"
LOUD = "red \x1b[31m alert\n.png"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    with home_in(tmp_path_factory.mktemp("page") / "home") as home:
        folder = home.folder / "memes"
        drawn = memes.make(folder, count=5, seed=41, formats=("png",))
        for meme, name in zip(drawn, (HEBREW, SLY, LOUD), strict=False):
            meme.path.rename(folder / name)
        (folder / "broken.png").write_bytes(b"nothing of a picture")
        os.rename(os.fsencode(drawn[4].path), os.fsencode(folder) + b"/not-\xff-utf8.png")  # noqa: PTH104 - a name of bytes
        home.run("add", "--wait", str(folder))
        yield home


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def context(home: Home, browser: Browser) -> BrowserContext:
    return entered(home, browser, viewport={"width": 1280, "height": 800}, reduced_motion="reduce")


@pytest.fixture(scope="module")
def album() -> Path:
    """Where the pictures of every view stay for whoever wants to look at them."""
    ALBUM.mkdir(parents=True, exist_ok=True)
    return ALBUM


@pytest.fixture
def page(context: BrowserContext, home: Home) -> Iterator[Page]:
    page = shown(context, home, "queue")
    page.locator(".row[data-state]").first.wait_for()
    yield page
    page.close()


def settled(page: Page, view: str) -> None:
    """The view, with all that there is to see in it."""
    page.locator(f"#to-{view}").click()
    if view == "library":
        pictures_shown(page)
    elif view == "now":
        expect(page.locator("#needs li")).to_have_count(1)


def violations(page: Page, axe: str) -> list[tuple[str, list[Any]]]:
    """What axe-core finds serious or worse, and where. It comes in through the debugger, past the page's own policy."""
    page.evaluate(axe)
    found = page.evaluate("async () => (await axe.run(document)).violations")
    return [
        (rule["id"], [(node["target"], node["failureSummary"]) for node in rule["nodes"]])
        for rule in found
        if rule["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize("theme", THEMES)
def test_axe_finds_nothing_serious_in_any_view(page: Page, theme: str, album: Path):
    axe = (npm_package("axe-core", "4.14.1") / "axe.min.js").read_text("utf-8")
    page.emulate_media(color_scheme=theme)
    for view in VIEWS:
        settled(page, view)
        page.screenshot(path=album / f"{view}-{theme}.png")
        assert violations(page, axe) == [], view
    page.keyboard.press("Control+Shift+M")
    expect(page.locator("#overlay tbody tr").first).to_be_visible()
    page.screenshot(path=album / f"metrics-{theme}.png")
    assert violations(page, axe) == []
    page.keyboard.press("Control+Shift+M")
    page.locator("#to-library").click()
    page.locator("#tile-0").click()
    page.wait_for_function("() => document.getElementById('picture').naturalWidth > 100")
    page.screenshot(path=album / f"large-{theme}.png")
    assert violations(page, axe) == []


@pytest.mark.parametrize("size", [(360, 640), (3840, 2160)], ids=("360", "4K"))
def test_nothing_is_wider_than_the_screen(page: Page, size: tuple[int, int], album: Path):
    width, height = size
    page.set_viewport_size({"width": width, "height": height})
    for view in VIEWS:
        settled(page, view)
        page.screenshot(path=album / f"{view}-{width}.png")
        wide = page.evaluate(
            """() => [...document.querySelectorAll("body *")]
            .filter(each => each.checkVisibility() && !each.closest(".unseen, #states"))
            .filter(each => each.getBoundingClientRect().right > innerWidth + 1).map(each => each.outerHTML)"""
        )
        assert wide == [], view


def test_names_are_shown_and_not_obeyed(page: Page):
    names = [name[1:-1] for name in page.locator(".row bdi").all_text_contents()]
    assert HEBREW in names, "what is written from the right is left alone"
    assert "photo\\u202egnp.exe.png" in names
    left_edges = page.evaluate(
        """() => [...document.querySelectorAll(".row bdi")].map(name => { const text = document.createRange();
        text.selectNodeContents(name); return Math.round(text.getBoundingClientRect().left) })"""
    )
    assert max(left_edges) - min(left_edges) < 300, "in one column with all others, its folder beside it"
    assert "red \\x1b[31m alert\\n.png" in names
    assert "not-\\xff-utf8.png" in names
    row = page.locator(".row", has_text="not-")
    row.dblclick()
    expect(page.locator("dialog")).to_contain_text("not-\\xff-utf8.png")


def test_everything_is_reached_and_done_with_the_keyboard_alone(page: Page, home: Home):
    page.keyboard.press("2")
    expect(page.locator("#library")).to_be_visible()
    page.keyboard.press("/")
    expect(page.locator("#search")).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(page.locator("#tiles")).to_be_focused()
    page.keyboard.press("3")
    expect(page.locator("#now")).to_be_visible()
    page.keyboard.press("1")
    page.keyboard.press("/")
    page.keyboard.type("broken")
    expect(page.locator("#rows-count")).to_have_text("1 item")
    page.keyboard.press("Tab")
    expect(page.locator("#rows")).to_be_focused()  # past buttons that have nothing to change
    page.keyboard.press("Space")
    for button in ("forget", "bump", "retry", "choose-none"):
        page.keyboard.press("Shift+Tab")
        expect(page.locator(f"#{button}")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#rows")).to_be_focused()
    expect(page.locator("#retry")).to_be_disabled()
    active = page.locator("#rows").get_attribute("aria-activedescendant")
    assert "broken.png" in (page.locator(f"#{active}").get_attribute("aria-label") or "")
    page.keyboard.press("Enter")
    expect(page.locator("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("dialog")).to_have_count(0)  # it gives the focus back when it has closed
    page.keyboard.press("?")
    expect(page.locator("dialog")).to_contain_text("Ctrl Shift M")
    page.keyboard.press("Escape")
    page.keyboard.press("p")
    expect(page.locator("#standing")).to_have_text("paused")
    page.keyboard.press("p")
    expect(page.locator("#standing")).to_have_text("running")


def test_one_stop_for_all_states_and_arrows_between_them(page: Page):
    page.locator("#states [data-state=all]").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#states [data-state=pending]")).to_be_focused()
    assert page.locator("#states [tabindex='0']").count() == 1


def test_who_wants_no_motion_sees_none(page: Page):
    moving = page.evaluate(
        """() => [...document.querySelectorAll("*")].filter(e => { const s = getComputedStyle(e);
        return s.transitionDuration !== "0s" || s.animationName !== "none" }).length"""
    )
    assert moving == 0


def test_the_end_of_the_work_is_read_out(page: Page):
    expect(page.locator("#announced")).to_contain_text("1 file could not be sent")
    assert page.locator("#announced").get_attribute("role") == "status"
