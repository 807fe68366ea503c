"""Keeping the library in order in Chromium: selection, changes to many, undo, trash, tags, duplicates, sharing."""

import asyncio
import queue
import re
import shutil
import threading
import zipfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from browser import chromium, wait_for_pictures
from control_fixtures import serve_control_api
from firefox import ENTER, ESCAPE, RIGHT, firefox
from packages_of_npm import npm_package
from PIL import Image
from pipeline_fixtures import JumpClock
from playwright.sync_api import Locator, Page, expect
from sploot_server.domain.embedding import ImageAnalysis
from sploot_server.domain.near_duplicates import DHASH_SIDE, compute_dhash
from toy_library import DIM, FakeEmbedder
from web_library import library, upload_file

from splootd.control.context import WebUi
from splootd.credentials import Credentials
from splootd.remote.client import SplootClient

EXAMPLES = Path(__file__).parents[2] / "examples" / "memes"
SCREENSHOTS = Path(__file__).parents[2] / "build" / "web_ui"
COPY = "a copy.jpg"  # of the first example, and smaller
PICTURES = 7


@dataclass
class LookEmbedder(FakeEmbedder):
    """An embedder that sees how pictures look, and reads the same words on all of them."""

    async def analyze_image(self, path: Path) -> ImageAnalysis:
        with Image.open(path) as picture:
            width, height = picture.size
            grey = picture.convert("L")
            sides = (DHASH_SIDE + 1, DHASH_SIDE)
            look = compute_dhash(grey.resize(sides).tobytes(), grey.resize(sides[::-1]).tobytes())
        return ImageAnalysis("same words", bytes(4 * DIM), width, height, dhash=look)


@asynccontextmanager
async def serve(folder: Path) -> AsyncIterator[WebUi]:
    """Serve the web UI with a library on a server of another host, as the daemon sees it."""
    socket = folder / "s"
    async with library(folder / "library", socket, LookEmbedder()):
        credentials = Credentials(folder / "t", JumpClock())
        server = SplootClient("http://library", credentials=credentials, connections=4, socket=socket)
        await server.limits()
        async with serve_control_api(folder, server=server, url="http://library") as control_api:
            memes = control_api.folder
            examples = sorted(EXAMPLES.glob("*.jpg"))[: PICTURES - 1]
            for path in examples:
                await upload_file(server, Path(shutil.copy(path, memes)))
            with Image.open(examples[0]) as picture:
                picture.resize((picture.width // 2, picture.height // 2)).save(memes / COPY)
            await upload_file(server, memes / COPY)
            yield control_api.web_ui
        await server.close()


@pytest.fixture(scope="module")
def new_login_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], str]]:
    """Run the web UI and its library in a thread, because Playwright's sync API has an event loop in this one."""
    folder, started = tmp_path_factory.mktemp("organizer"), queue.SimpleQueue[WebUi | Exception]()
    loop, stop = asyncio.new_event_loop(), asyncio.Event()

    async def run() -> None:
        async with serve(folder) as web_ui:
            started.put(web_ui)
            await stop.wait()

    def run_in_thread() -> None:
        try:
            loop.run_until_complete(run())
        except Exception as error:  # noqa: BLE001 - raised by the fixture, in the thread of the test
            started.put(error)

    thread = threading.Thread(target=run_in_thread)
    thread.start()
    web_ui = started.get(timeout=100)
    assert not isinstance(web_ui, Exception), web_ui
    yield lambda: asyncio.run_coroutine_threadsafe(web_ui.create_login_url(reset=False), loop).result(100)
    loop.call_soon_threadsafe(stop.set)
    thread.join()
    loop.close()


@pytest.fixture(scope="module")
def tab(new_login_url: Callable[[], str]) -> Iterator[Page]:
    with chromium() as browser:
        context = browser.new_context(viewport={"width": 1100, "height": 800}, reduced_motion="reduce")
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        context.on("weberror", lambda error: pytest.fail(f"JavaScript error: {error.error}"))
        page = context.new_page()
        page.goto(new_login_url())
        wait_for_pictures(page)
        yield page


@pytest.fixture
def page(tab: Page) -> Page:
    """The tab, loaded again: the whole library, and nothing selected."""
    tab.reload()
    wait_for_pictures(tab)
    tab.locator("#tiles").focus()
    return tab


def count(page: Page) -> Locator:
    return page.locator("#tiles-count")


def selected(page: Page) -> Locator:
    return page.locator(".tile[aria-selected=true]")


def bar(page: Page, name: str) -> Locator:
    return page.get_by_role("toolbar", name="Selected pictures").get_by_role("button", name=name, exact=True)


def save_pictures(page: Page, name: str) -> None:
    """Keep screenshots for review by eye: both themes, and the width of a phone."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    size = page.viewport_size
    assert size is not None
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]  # one of its literals
        page.screenshot(path=SCREENSHOTS / f"{name}-{theme}.png")
    page.set_viewport_size({"width": 390, "height": 844})
    page.screenshot(path=SCREENSHOTS / f"{name}-390.png")
    page.set_viewport_size(size)
    page.emulate_media(color_scheme="light")


def check_accessibility(page: Page) -> None:
    axe = npm_package("axe-core", "4.14.1") / "axe.min.js"
    page.evaluate(axe.read_text("utf-8"))
    found: list[dict[str, Any]] = page.evaluate("async () => (await axe.run(document)).violations")
    assert found == [], [(each["id"], [node["html"] for node in each["nodes"]]) for each in found]


def test_pictures_are_selected_by_mouse_and_keyboard(page: Page):
    page.locator("#tile-1").click(modifiers=["Control"])
    page.locator("#tile-3").click(modifiers=["Control"])
    expect(selected(page)).to_have_count(2)
    page.locator("#tile-5").click()  # in a selection every click selects
    expect(selected(page)).to_have_count(3)
    page.locator("#tile-0").click(modifiers=["Shift"])
    expect(selected(page)).to_have_count(6)
    check_accessibility(page)
    save_pictures(page, "selection")
    page.keyboard.press("Escape")
    expect(selected(page)).to_have_count(0)
    expect(page.get_by_role("toolbar")).to_have_count(0)
    page.keyboard.press("Home")
    page.keyboard.press(" ")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowRight")
    expect(selected(page)).to_have_count(3)
    page.keyboard.press("Control+a")
    expect(selected(page)).to_have_count(PICTURES)
    bar(page, "Done").click()
    expect(selected(page)).to_have_count(0)


def drag(page: Page, start: tuple[float, float], end: tuple[float, float]) -> None:
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move(*end, steps=5)
    page.mouse.up()


def test_a_rubber_band_selects_what_it_touches(page: Page):
    page.get_by_role("button", name="Select", exact=True).click()
    box = page.locator("#tile-1").bounding_box()
    assert box is not None
    drag(page, (box["x"] + 20, box["y"] + 20), (box["x"] + box["width"] + 30, box["y"] + 40))
    expect(selected(page)).to_have_count(2)
    expect(page.locator(".viewer, .rubber-band")).to_have_count(0)
    page.keyboard.press("Escape")


def tag_selected(page: Page, name: str) -> None:
    bar(page, "Tag").click()
    page.get_by_role("combobox", name="Tag name").fill(name)
    page.keyboard.press("Enter")
    expect(page.locator("#toast")).to_contain_text(f"with '{name}'")


def tags(page: Page) -> set[str]:
    """Return the tags of all pictures."""
    listed = page.context.request.get(f"{page.url.partition('#')[0]}v1/library").json()["assets"]
    return {tag["name"] for asset in listed for tag in asset["tags"]}


def test_many_pictures_are_tagged_and_each_change_is_undone(page: Page):
    favorites = page.locator(".tile[data-badge*='★']")
    all_tagged = page.locator("#tag option", has_text=f"\u2068cat\u2069 ({PICTURES})")
    page.keyboard.press("Control+a")
    tag_selected(page, "cat")
    expect(all_tagged).to_have_count(1)
    bar(page, "Favourite").click()
    expect(favorites).to_have_count(PICTURES)
    expect(bar(page, "Not favourite")).to_be_visible()
    page.locator("#tiles").focus()
    page.keyboard.press("Control+z")
    expect(favorites).to_have_count(0)
    page.keyboard.press("Control+z")
    expect(all_tagged).to_have_count(0)
    assert tags(page) == set()
    page.keyboard.press("Control+z")
    expect(page.locator("#toast")).to_contain_text("nothing to undo")


def test_a_tag_is_suggested_and_has_a_page_on_which_it_is_renamed_and_deleted(page: Page):
    page.locator("#tile-0").click(modifiers=["Control"])
    tag_selected(page, "reaction")
    bar(page, "Done").click()
    page.locator("#tile-1").click(modifiers=["Control"])
    bar(page, "Tag").click()
    field = page.get_by_role("combobox", name="Tag name")
    field.fill("act")
    option = page.get_by_role("dialog").get_by_role("option", name="reaction")
    expect(option).to_be_visible()
    page.keyboard.press("ArrowDown")
    expect(field).to_have_attribute("aria-activedescendant", option.get_attribute("id") or "")
    check_accessibility(page)
    save_pictures(page, "tag")
    page.keyboard.press("Enter")
    expect(field).to_have_value("reaction")
    page.keyboard.press("Enter")
    bar(page, "Done").click()
    page.get_by_role("button", name="Tags", exact=True).click()
    check_accessibility(page)
    save_pictures(page, "tags")
    page.get_by_role("dialog", name="Tags").locator(".link", has_text="reaction").click()
    expect(count(page)).to_have_text("2 memes")
    page.get_by_role("button", name="Rename", exact=True).click()
    page.get_by_role("textbox", name="New name").fill("feelings")
    page.keyboard.press("Enter")
    expect(page.locator("#toast")).to_contain_text("feelings")
    page.locator("#tile-0").click(modifiers=["Control"])
    bar(page, "Remove 'feelings'").click()
    expect(count(page)).to_have_text("1 meme")
    bar(page, "Done").click()
    page.get_by_role("button", name="Delete tag").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(count(page)).to_have_text(f"{PICTURES} memes")
    expect(page.locator("#tag option", has_text="feelings")).to_have_count(0)
    assert tags(page) == set()


def test_several_pictures_are_downloaded_in_one_zip(page: Page):
    page.locator("#tile-0").click(modifiers=["Control"])
    page.locator("#tile-2").click(modifiers=["Control"])
    with page.expect_download() as started:
        bar(page, "Download").click()
    assert started.value.suggested_filename == "memes.zip"
    with zipfile.ZipFile(started.value.path()) as archive:
        assert archive.testzip() is None
        assert COPY in archive.namelist()
        assert len(archive.namelist()) == 2
    bar(page, "Done").click()


def test_deleted_pictures_are_in_the_trash_from_which_they_are_restored(page: Page):
    page.locator("#tile-1").click(modifiers=["Control"])
    page.locator("#tile-2").click(modifiers=["Control"])
    page.locator("#tiles").focus()
    page.keyboard.press("Delete")
    expect(count(page)).to_have_text(f"{PICTURES - 2} memes")
    page.get_by_role("button", name="Trash").click()
    trash = page.get_by_role("dialog", name="Trash")
    expect(trash.locator(".card-picture")).to_have_count(2)
    expect(trash.locator("[data-picture=loaded]")).to_have_count(2)
    expect(trash).to_contain_text("30 days left")
    check_accessibility(page)
    save_pictures(page, "trash")
    trash.locator(".card-picture").first.click()
    trash.get_by_role("button", name="Restore 1").click()
    expect(trash.locator(".card-picture")).to_have_count(1)
    trash.get_by_role("button", name="Restore all").click()
    expect(trash).to_contain_text("The trash is empty.")
    page.keyboard.press("Escape")
    expect(count(page)).to_have_text(f"{PICTURES} memes")


def test_one_picture_deleted_by_key_returns_by_undo(page: Page):
    page.keyboard.press("Home")
    page.keyboard.press("Delete")
    expect(count(page)).to_have_text(f"{PICTURES - 1} memes")
    page.locator("#toast button", has_text="Undo").click()
    expect(count(page)).to_have_text(f"{PICTURES} memes")


def test_a_share_link_is_made_listed_and_stopped(page: Page):
    page.locator("#tile-1").click()
    page.locator(".viewer").get_by_role("button", name="Share link").click()
    sheet = page.get_by_role("dialog", name="Share link")
    url = sheet.get_by_role("textbox").input_value()
    assert "/s/" in url
    expect(sheet).to_contain_text("The link is copied.")
    assert page.evaluate("() => navigator.clipboard.readText()") == url
    sheet.get_by_label("The link ends").select_option("In a week")
    expect(sheet.locator(".link-end [role=status]")).not_to_be_empty()
    check_accessibility(page)
    save_pictures(page, "share")
    sheet.get_by_role("button", name="Done").click()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Links").click()
    links = page.get_by_role("dialog", name="Shared links")
    expect(links.locator(".card-picture")).to_have_count(1)
    expect(links).to_contain_text("Ends: ")
    check_accessibility(page)
    save_pictures(page, "links")
    links.get_by_role("button", name="Stop sharing").click()
    expect(links).to_contain_text("No picture is shared.")


def test_the_count_of_a_stack_shows_its_pictures_and_the_tile_opens_the_viewer(page: Page):
    copies, stacks = page.locator(".tile[data-name*='meme-'], .tile[data-name*='copy']"), page.locator(".stack-count")
    expect(stacks).to_have_text(["+1", "+1"])
    stacks.first.dispatch_event("click")  # a finger has no overlay
    expect(count(page)).to_have_text("2 memes")
    expect(page.locator("#tiles-notice")).to_have_text("Pictures that look the same.")
    expect(copies).to_have_count(2)
    expect(stacks).to_have_count(0)
    page.locator("#tile-0").click()
    expect(page.locator(".viewer")).to_be_visible()
    page.keyboard.press("Escape")
    page.locator("#show-all").click()
    expect(count(page)).to_have_text(f"{PICTURES} memes")
    page.locator(".tile[data-stack]").first.click()
    expect(page.locator(".viewer")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("dialog")).to_have_count(0)
    page.locator("#tiles").focus()
    page.keyboard.press("g")
    expect(count(page)).to_have_text("2 memes")
    expect(page).to_have_url(re.compile(r"#library\?group="))
    page.go_back()
    expect(count(page)).to_have_text(f"{PICTURES} memes")
    page.locator(".tile[data-stack]").first.hover()
    check_accessibility(page)
    save_pictures(page, "stack")
    page.get_by_role("button", name="Show 1 more that look the same").click()
    expect(count(page)).to_have_text("2 memes")
    page.go_back()
    expect(count(page)).to_have_text(f"{PICTURES} memes")


def test_the_best_of_the_duplicates_is_kept(page: Page):
    page.get_by_role("button", name="Duplicates").click()
    pages = page.get_by_role("dialog", name="Duplicates")
    group = pages.get_by_role("region")
    expect(group).to_have_count(1)
    expect(group.locator(".card-picture")).to_have_count(2)
    expect(group.locator("[aria-pressed=true]")).not_to_contain_text(COPY)
    check_accessibility(page)
    save_pictures(page, "duplicates")
    group.get_by_role("button", name="Keep the best, delete the other").click()
    expect(pages).to_contain_text("No two pictures look the same.")
    page.keyboard.press("Escape")
    expect(count(page)).to_have_text(f"{PICTURES - 1} memes")
    expect(page.locator(f".tile[data-name*='{COPY}']")).to_have_count(0)
    page.locator("#tiles").focus()
    page.keyboard.press("Control+z")
    expect(count(page)).to_have_text(f"{PICTURES} memes")


def test_firefox_searches_opens_and_closes_and_copies(new_login_url: Callable[[], str]):
    with firefox() as tab:
        tab.open(new_login_url())
        tab.wait_for(f"document.getElementById('tiles-count').textContent === '{PICTURES} memes'")
        tab.wait_for("document.querySelector('#tile-0[data-picture=loaded]')")
        tab.press("/", *"words")
        tab.wait_for("document.getElementById('tiles-count').textContent.endsWith('matches')")
        tab.wait_for("location.hash === '#library?q=words'")
        tab.press(ENTER, ENTER)
        tab.wait_for("document.querySelector('.stage[data-picture=loaded]')")
        tab.press(RIGHT)
        tab.wait_for("location.hash.includes('&i=')")
        tab.click(".viewer .primary")
        tab.wait_for("document.getElementById('toast').textContent === 'Image copied.'")
        tab.press(ESCAPE)
        tab.wait_for("!document.querySelector('dialog') && location.hash === '#library?q=words'")
        for view in ("2", "3", "1"):
            tab.press(view)
        tab.wait_for("document.getElementById('daemon-state').textContent === 'Running'")
        assert tab.errors == []
