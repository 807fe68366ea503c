"""The library view in Chromium: search, viewer, favourites, tags, delete and undo."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from browser import chromium, open_view, signed_in, wait_for_pictures
from playwright.sync_api import Page, Route, expect
from temp_home import Home, home_in

pytestmark = pytest.mark.models
EXAMPLES = Path(__file__).parents[2] / "examples" / "memes"
PICTURES = 24
POLLS_MAX = 500


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    with home_in(tmp_path_factory.mktemp("web_ui") / "home") as home:
        shutil.copytree(EXAMPLES, home.folder / "memes")
        home.ok("add", "--wait", str(home.folder / "memes"))
        yield home


@pytest.fixture(scope="module")
def tab(home: Home) -> Iterator[Page]:
    with chromium() as browser:
        context = signed_in(home, browser, viewport={"width": 1000, "height": 700})
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        yield open_view(context, home, "library")


@pytest.fixture
def page(tab: Page) -> Page:
    """The tab without a search."""
    expect(tab.locator("dialog")).to_have_count(0)  # a closing dialog restores the focus
    tab.locator("#search").fill("")
    expect(tab.locator("#tiles-count")).to_have_text(f"{PICTURES} memes")
    return tab


def test_only_the_visible_pictures_of_the_grid_have_elements(page: Page):
    wait_for_pictures(page)
    tiles = page.locator(".tile")
    assert 12 <= tiles.count() <= PICTURES
    assert "meme-7-" in (tiles.first.get_attribute("aria-label") or "")


def test_search_runs_while_typing(page: Page):
    page.locator("#search").press_sequentially("cake said serves eight")
    expect(page.locator("#tiles-count")).to_contain_text("match")
    expect(page.locator("#tile-0")).to_have_attribute("aria-label", re.compile("meme-7-"))
    page.locator("#search").press("Enter")
    expect(page.locator("#tiles")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator(".viewer .caption")).to_contain_text("CAKE", ignore_case=True)
    page.keyboard.press("Escape")


def test_a_late_reply_to_an_earlier_search_is_not_shown(page: Page):
    """The first request is still pending when the second one completes."""
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route("**/v1/library?text=slow*", hold)
    page.locator("#search").fill("slow")
    page.wait_for_event("request", lambda request: "text=slow" in request.url)
    page.locator("#search").fill("password")
    expect(page.locator("#tiles-count")).to_contain_text("match")
    shown_first = page.locator("#tile-0").get_attribute("aria-label")
    for route in held:
        route.abort()
    page.unroute_all()
    assert held
    assert page.locator("#tile-0").get_attribute("aria-label") == shown_first


def test_the_viewer_opens_a_picture_and_arrow_keys_change_it(page: Page):
    page.locator("#tiles").focus()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    title = page.locator("#viewer-title")
    first = title.text_content()
    page.keyboard.press("ArrowRight")
    expect(title).not_to_have_text(first or "")
    page.keyboard.press("ArrowLeft")
    expect(title).to_have_text(first or "")
    page.wait_for_function("() => document.getElementById('picture').naturalWidth > 100")
    page.keyboard.press("Escape")
    expect(page.locator("dialog")).to_have_count(0)
    expect(page.locator("#tiles")).to_be_focused()


def test_favourites_and_tags_are_saved_and_filter_the_list(page: Page):
    page.locator("#tile-0").click()
    page.locator(".viewer button", has_text="Favourite").click()
    expect(page.locator("#toast")).to_contain_text("Added to favourites.")
    page.locator("#tags").fill("cats, monday")
    page.locator("#tags").press("Enter")
    expect(page.locator("#toast")).to_contain_text("Tags saved.")
    page.keyboard.press("Escape")
    page.locator("#favorites").click()
    expect(page.locator("#tiles-count")).to_have_text("1 meme")
    page.locator("#favorites").click()
    page.locator("#tag").select_option(label="\u2068monday\u2069 (1)")
    expect(page.locator("#tiles-count")).to_have_text("1 meme")
    page.locator("#tag").select_option("")


def test_a_picture_and_its_link_can_be_copied(page: Page):
    page.locator("#tile-0").click()
    page.locator(".viewer button", has_text="Copy link").click()
    expect(page.locator("#toast")).to_contain_text("Link copied.")
    assert "meme-7-" in page.evaluate("() => navigator.clipboard.readText()")
    page.wait_for_function("() => document.getElementById('picture').naturalWidth > 100")
    page.locator(".viewer button", has_text="Copy image").click()
    expect(page.locator("#toast")).to_contain_text("Image copied.")
    assert page.evaluate("async () => (await navigator.clipboard.read())[0].types") == ["image/png"]
    page.keyboard.press("Escape")


def test_a_delete_can_be_undone(page: Page):
    name = page.locator("#tile-0").get_attribute("data-name") or ""
    page.locator("#tiles").focus()
    page.keyboard.press("Home")
    page.keyboard.press("Delete")
    expect(page.locator("#tiles-count")).to_have_text(f"{PICTURES - 1} memes")
    expect(page.locator(f".tile[data-name='{name}']")).to_have_count(0)
    page.locator("#toast button", has_text="Undo").click()
    expect(page.locator("#tiles-count")).to_have_text(f"{PICTURES} memes")
    expect(page.locator("#tile-0")).to_have_attribute("data-name", name)


def test_similar_pictures_are_found(page: Page):
    page.locator("#tile-0").click()
    page.locator(".viewer button", has_text="Similar").click()
    expect(page.locator("#similar-name")).to_contain_text("Similar to")
    expect(page.locator("#tiles-count")).to_contain_text("match")
    page.locator("#similar-none").click()
    expect(page.locator("#tiles-count")).to_have_text(f"{PICTURES} memes")


def test_ten_thousand_pictures_use_few_elements(tab: Page):
    """With a fake library of that size: only visible tiles have elements, and only pages in view are loaded."""
    total, loaded_offsets = 10_000, set[int]()

    def reply_with_page(route: Route) -> None:
        offset = int(parse_qs(urlsplit(route.request.url).query).get("offset", ["0"])[0])
        loaded_offsets.add(offset)
        row = {
            "favorite": False,
            "tags": [],
            "near_duplicate_count": 0,
            "state": "ready",
            "size": 1000,
            "width": 9,
            "height": 9,
        }
        rest = ("mime", "created_at", "score", "text", "matched_words", "path", "link")
        rows = [
            {"id": f"p{number}", "name": f"picture-{number}.png", **row, **dict.fromkeys(rest)}
            for number in range(offset, min(offset + 60, total))
        ]
        features = {"similar": False, "thumbnails": True}
        route.fulfill(json={"assets": rows, "total": total, "has_more": offset + 60 < total, "features": features})

    page = tab.context.new_page()
    page.route("**/v1/library?*", reply_with_page)
    page.route("**/thumbnail?*", lambda route: route.fulfill(body=(EXAMPLES / "meme-7-0000.jpg").read_bytes()))
    page.goto(tab.url)
    expect(page.locator("#tiles-count")).to_have_text("10,000 memes")
    elements = page.evaluate(
        """async () => { const view = document.getElementById("tiles"); let max = 0;
        for (let step = 0; step < 60; step += 1) { view.scrollTop += 150; await new Promise(requestAnimationFrame);
          max = Math.max(max, document.querySelectorAll("#tiles-canvas *").length) } return max }"""
    )
    assert elements < 200
    page.locator("#tiles").focus()
    page.keyboard.press("End")
    expect(page.locator(f"#tile-{total - 1}")).to_have_attribute("data-name", re.compile(f"picture-{total - 1}"))
    assert len(loaded_offsets) < 30, "pages that are scrolled past are not loaded"
    page.close()


def test_a_delete_that_is_not_undone_reaches_the_library(home: Home, tab: Page):
    """Closing the tab sends the request without waiting for the end of the eight seconds."""
    page = open_view(tab.context, home, "library")
    expect(page.locator("#tiles-count")).to_have_text(f"{PICTURES} memes")
    page.locator("#tiles").focus()
    page.keyboard.press("Delete")
    expect(page.locator("#tiles-count")).to_have_text(f"{PICTURES - 1} memes")
    address = page.url.split("#")[0]
    page.goto("about:blank")
    for _ in range(POLLS_MAX):
        if tab.context.request.get(f"{address}v1/library").json()["total"] == PICTURES - 1:
            return
    pytest.fail("the picture is still in the library")
