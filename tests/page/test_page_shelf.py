"""The library in a real browser: found, opened, marked, deleted and brought back."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from browser import chromium, entered, pictures_shown, shown
from homes import Home, home_in
from playwright.sync_api import Page, Route, expect

pytestmark = pytest.mark.models
EXAMPLES = Path(__file__).parents[2] / "examples" / "memes"
PICTURES = 24
LOOKS_MAX = 500


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    with home_in(tmp_path_factory.mktemp("page") / "home") as home:
        shutil.copytree(EXAMPLES, home.folder / "memes")
        home.ok("add", "--wait", str(home.folder / "memes"))
        yield home


@pytest.fixture(scope="module")
def tab(home: Home) -> Iterator[Page]:
    with chromium() as browser:
        context = entered(home, browser, viewport={"width": 1000, "height": 700})
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        yield shown(context, home, "library")


@pytest.fixture
def page(tab: Page) -> Page:
    """The tab, with all pictures in it."""
    expect(tab.locator("dialog")).to_have_count(0)  # it gives the focus back when it has closed
    tab.locator("#search").fill("")
    expect(tab.locator("#tiles-count")).to_have_text(f"{PICTURES} memes")
    return tab


def test_the_library_is_a_wall_of_pictures_of_which_those_in_view_exist(page: Page):
    pictures_shown(page)
    tiles = page.locator(".tile")
    assert 12 <= tiles.count() <= PICTURES
    assert "meme-7-" in (tiles.first.get_attribute("aria-label") or "")


def test_what_is_typed_is_found(page: Page):
    page.locator("#search").press_sequentially("cake said serves eight")
    expect(page.locator("#tiles-count")).to_contain_text("match")
    expect(page.locator("#tile-0")).to_have_attribute("aria-label", re.compile("meme-7-"))
    page.locator("#search").press("Enter")
    expect(page.locator("#tiles")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator(".viewer .words")).to_contain_text("CAKE", ignore_case=True)
    page.keyboard.press("Escape")


def test_an_answer_that_comes_too_late_is_not_shown(page: Page):
    """The first question is answered only after the second."""
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


def test_a_picture_is_looked_at_large_and_the_arrow_keys_lead_on(page: Page):
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


def test_favourites_and_tags_are_kept_and_can_be_asked_for(page: Page):
    page.locator("#tile-0").click()
    page.locator(".viewer button", has_text="Favourite").click()
    expect(page.locator("#said")).to_contain_text("A favourite now.")
    page.locator("#tags").fill("cats, monday")
    page.locator("#tags").press("Enter")
    expect(page.locator("#said")).to_contain_text("The tags are kept.")
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
    expect(page.locator("#said")).to_contain_text("The link is copied.")
    assert "meme-7-" in page.evaluate("() => navigator.clipboard.readText()")
    page.wait_for_function("() => document.getElementById('picture').naturalWidth > 100")
    page.locator(".viewer button", has_text="Copy image").click()
    expect(page.locator("#said")).to_contain_text("The image is copied.")
    assert page.evaluate("async () => (await navigator.clipboard.read())[0].types") == ["image/png"]
    page.keyboard.press("Escape")


def test_what_is_deleted_can_be_brought_back(page: Page):
    name = page.locator("#tile-0").get_attribute("data-name") or ""
    page.locator("#tiles").focus()
    page.keyboard.press("Home")
    page.keyboard.press("Delete")
    expect(page.locator("#tiles-count")).to_have_text(f"{PICTURES - 1} memes")
    expect(page.locator(f".tile[data-name='{name}']")).to_have_count(0)
    page.locator("#said button", has_text="Undo").click()
    expect(page.locator("#tiles-count")).to_have_text(f"{PICTURES} memes")
    expect(page.locator("#tile-0")).to_have_attribute("data-name", name)


def test_others_like_it_are_found(page: Page):
    page.locator("#tile-0").click()
    page.locator(".viewer button", has_text="Similar").click()
    expect(page.locator("#like-name")).to_contain_text("Similar to")
    expect(page.locator("#tiles-count")).to_contain_text("match")
    page.locator("#like-none").click()
    expect(page.locator("#tiles-count")).to_have_text(f"{PICTURES} memes")


def test_ten_thousand_pictures_are_as_few_elements(tab: Page):
    """A library that says it has as many: only those in view exist, and what is scrolled to is read."""
    many, read = 10_000, set[int]()

    def listed(route: Route) -> None:
        at = int(parse_qs(urlsplit(route.request.url).query).get("offset", ["0"])[0])
        read.add(at)
        row = {"favorite": False, "tags": [], "others": 0, "state": "ready", "size": 1000, "width": 9, "height": 9}
        rest = ("mime", "created_at", "score", "text", "why", "path", "link")
        rows = [
            {"id": f"p{number}", "name": f"picture-{number}.png", **row, **dict.fromkeys(rest)}
            for number in range(at, min(at + 60, many))
        ]
        offers = {"similar": False, "thumbnails": True}
        route.fulfill(json={"assets": rows, "total": many, "has_more": at + 60 < many, "offers": offers})

    page = tab.context.new_page()
    page.route("**/v1/library?*", listed)
    page.route("**/thumbnail?*", lambda route: route.fulfill(body=(EXAMPLES / "meme-7-0000.jpg").read_bytes()))
    page.goto(tab.url)
    expect(page.locator("#tiles-count")).to_have_text("10,000 memes")
    elements = page.evaluate(
        """async () => { const view = document.getElementById("tiles"); let most = 0;
        for (let step = 0; step < 60; step += 1) { view.scrollTop += 150; await new Promise(requestAnimationFrame);
          most = Math.max(most, document.querySelectorAll("#tiles-canvas *").length) } return most }"""
    )
    assert elements < 200
    page.locator("#tiles").focus()
    page.keyboard.press("End")
    expect(page.locator(f"#tile-{many - 1}")).to_have_attribute("data-name", re.compile(f"picture-{many - 1}"))
    assert len(read) < 30, "what is passed by is not read"
    page.close()


def test_what_was_deleted_and_not_brought_back_leaves_the_library(home: Home, tab: Page):
    """Leaving the page does not wait for the end of the eight seconds."""
    page = shown(tab.context, home, "library")
    expect(page.locator("#tiles-count")).to_have_text(f"{PICTURES} memes")
    page.locator("#tiles").focus()
    page.keyboard.press("Delete")
    expect(page.locator("#tiles-count")).to_have_text(f"{PICTURES - 1} memes")
    address = page.url.split("#")[0]
    page.goto("about:blank")
    for _ in range(LOOKS_MAX):
        if tab.context.request.get(f"{address}v1/library").json()["total"] == PICTURES - 1:
            return
    pytest.fail("it is still there")
