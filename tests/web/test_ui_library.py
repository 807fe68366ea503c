"""The library view in Chromium: search, viewer, favourites, tags, delete and undo."""

import io
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import chromium, open_view, signed_in, wait_for_pictures
from clips import save_clip
from PIL import Image
from playwright.sync_api import Locator, Page, Route, expect
from temp_home import Home, home_in

READ_TIMEOUT_S = 300  # for all captions, on a busy machine
pytestmark = [pytest.mark.models, pytest.mark.timeout(READ_TIMEOUT_S)]
EXAMPLES = Path(__file__).parents[2] / "examples" / "memes"
PICTURES = 24
READY_S_MAX = 60.0


STALE = """async () => {
  const stale = new Set();
  for (const end = performance.now() + 2000; performance.now() < end; await new Promise(requestAnimationFrame)) {
    for (const image of document.querySelectorAll(".tile img, .moving, #picture")) {
      const isVisible = getComputedStyle(image).opacity !== "0";
      if (isVisible && !(image.complete && image.naturalWidth)) stale.add(image.src);
    }
  }
  return [...stale];
}"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    with home_in(tmp_path_factory.mktemp("web_ui") / "home") as home:
        shutil.copytree(EXAMPLES, home.folder / "memes")
        home.ok("add", "--wait", str(home.folder / "memes"), timeout_s=READ_TIMEOUT_S)
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


@pytest.fixture
def small(home: Home, tab: Page) -> Iterator[Page]:
    """A new tab without a search, whose wall shows a part of the library and has loaded its pictures."""
    small = tab.context.new_page()
    small.set_viewport_size({"width": 520, "height": 420})
    small.emulate_media(reduced_motion="reduce")
    small.goto(tab.url.partition("#")[0])
    expect(small.locator("#tiles-count")).to_have_text(f"{PICTURES} memes")
    wait_for_pictures(small)
    yield small
    small.close()


def hold(page: Page, pattern: str) -> list[Route]:
    """Hold the requests for pictures until the test continues them."""
    held: list[Route] = []

    def keep(route: Route) -> None:
        held.append(route)

    page.route(pattern, keep)
    return held


def release(page: Page, held: list[Route]) -> None:
    for route in held:
        route.continue_()
    page.unroute_all()


def colors(place: Locator) -> int:
    """Return the number of colours in an element, where it shows neither words, buttons nor a sign of work."""
    place.page.evaluate("() => document.querySelectorAll('.tile-overlay').forEach((each) => { each.hidden = true; })")
    with Image.open(io.BytesIO(place.screenshot())) as full:
        width, height = full.size
        inside = full.convert("RGB").crop((width // 3, height // 4, 2 * width // 3, 2 * height // 5))
    return len(inside.getcolors(maxcolors=width * height) or ())


def test_only_the_visible_pictures_of_the_wall_have_elements(page: Page):
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


def test_a_reused_tile_shows_nothing_until_its_own_thumbnail_has_loaded(small: Page):
    assert colors(small.locator("#tile-0")) > 10
    held = hold(small, "**/thumbnail?*")
    small.locator("#tiles").focus()
    small.keyboard.press("End")
    last = small.locator(f"#tile-{PICTURES - 1}")
    expect(last).to_be_visible()
    assert small.evaluate(STALE) == [], "for two seconds in which no thumbnail comes"
    assert held
    assert last.locator("img").evaluate("image => [image.naturalWidth, getComputedStyle(image).opacity]") == [0, "0"]
    assert colors(last) == 1, "nothing but the background of the tile"
    release(small, held)
    wait_for_pictures(small)
    assert colors(last) > 10


def test_the_viewer_shows_nothing_until_its_own_picture_has_loaded(small: Page):
    small.locator("#tile-0").click()
    picture = small.locator("#picture")
    small.wait_for_function("() => document.getElementById('picture').naturalWidth > 100")
    expect(picture).to_have_css("opacity", "1")
    assert colors(picture) > 10
    held = hold(small, "**/original")
    small.keyboard.press("ArrowRight")
    assert small.evaluate(STALE) == []
    assert held
    expect(picture).to_have_css("opacity", "0")
    assert colors(small.locator(".stage")) == 1
    release(small, held)
    expect(picture).to_have_css("opacity", "1")
    assert colors(picture) > 10


def test_a_click_on_a_tile_opens_the_picture_that_was_pressed(small: Page):
    """While the pointer is down a search puts another picture under it."""
    small.locator("#tile-0").hover()
    before = small.locator("#tile-0").get_attribute("data-name")
    small.mouse.down()
    small.locator("#search").evaluate(
        "search => { search.value = 'password'; search.dispatchEvent(new Event('input')) }"
    )
    expect(small.locator("#tiles-count")).to_contain_text("match")
    expect(small.locator("#tile-0")).not_to_have_attribute("data-name", before or "")
    small.mouse.up()
    expect(small.locator("dialog")).to_have_count(0)
    small.locator("#tile-0").click()
    name = small.locator("#tile-0").get_attribute("data-name")
    expect(small.locator("#viewer-title")).to_have_text(name or "")


def test_a_late_reply_to_an_earlier_search_is_not_shown(page: Page):
    """The first request is still pending when the second one completes."""
    held = hold(page, "**/v1/library?text=slow*")
    with page.expect_request(lambda request: "text=slow" in request.url):  # it is sent with the first key
        page.locator("#search").fill("slow")
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


def wait_for_clipboard(page: Page, size: tuple[int, int]) -> None:
    """Wait until a picture of this width and height is on the clipboard."""
    page.wait_for_function(
        """async ([width, height]) => { const [item] = await navigator.clipboard.read();
        if (!item.types.includes("image/png")) return false;
        const blob = await item.getType("image/png").catch(() => null);  // it changed meanwhile
        if (!blob) return false;
        const bitmap = await createImageBitmap(blob);
        return bitmap.width === width && bitmap.height === height }""",
        arg=list(size),
    )


def original_size(name: str) -> tuple[int, int]:
    with Image.open(EXAMPLES / name) as original:
        return original.size


def unescaped_name(page: Page, index: int) -> str:
    """Return the file name of a tile, without its direction marks."""
    return (page.locator(f"#tile-{index}").get_attribute("data-name") or "").strip("\u2068\u2069")


def test_c_copies_the_picture_in_full_size_on_the_wall_and_in_the_viewer(page: Page):
    sizes = [original_size(unescaped_name(page, index)) for index in range(PICTURES // 2)]
    other = next(index for index, size in enumerate(sizes) if size != sizes[0])
    page.locator("#tiles").focus()
    page.keyboard.press("Home")
    page.keyboard.press("c")
    wait_for_clipboard(page, sizes[0])
    expect(page.locator("#toast")).to_contain_text("Image copied.")
    for _ in range(other):
        page.keyboard.press("ArrowRight")
    page.keyboard.press("c")
    wait_for_clipboard(page, sizes[other])
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    page.keyboard.press("c")
    wait_for_clipboard(page, sizes[0])
    page.keyboard.press("Escape")


@pytest.mark.parametrize("kind", ["gif", "webp", "png"])
def test_the_copy_of_an_animation_says_that_it_is_the_first_frame(page: Page, kind: str):
    content = io.BytesIO()
    red, blue = (Image.new("RGB", (30, 20), color) for color in ("red", "blue"))
    red.save(content, kind, save_all=True, append_images=[blue], duration=100)

    def reply(route: Route) -> None:
        route.fulfill(body=content.getvalue(), content_type=f"image/{kind}")

    page.route("**/original", reply)
    page.locator("#tiles").focus()
    page.keyboard.press("Home")
    page.evaluate("() => document.getElementById('toast').replaceChildren()")
    page.keyboard.press("c")
    wait_for_clipboard(page, (30, 20))
    expect(page.locator("#toast")).to_have_text("Copied the first frame; drag it to keep the animation.")
    page.unroute_all()


def test_d_downloads_the_original_under_its_name(page: Page):
    name = unescaped_name(page, 1)
    page.locator("#tiles").focus()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    for open_viewer in (False, True):
        if open_viewer:
            page.keyboard.press("Enter")
        with page.expect_download() as started:
            page.keyboard.press("d")
        assert started.value.suggested_filename == name
        assert started.value.path().read_bytes() == (EXAMPLES / name).read_bytes()
    page.keyboard.press("Escape")


def test_a_drag_carries_the_original_with_its_name_and_type(page: Page):
    page.evaluate(
        """() => addEventListener("dragstart", event => { globalThis.dragged =
        event.dataTransfer.getData("DownloadURL") })"""
    )
    name = unescaped_name(page, 0)
    for picture in ("#tile-0", "#picture"):
        page.evaluate("() => { globalThis.dragged = undefined }")
        if picture == "#picture":
            page.locator("#tile-0").click()
        expect(page.locator(picture)).to_be_visible()
        page.locator(picture).hover()
        page.mouse.down()
        page.mouse.move(5, 5, steps=4)
        page.wait_for_function("() => globalThis.dragged !== undefined")
        page.mouse.up()
        mime, dragged_name, url = page.evaluate("() => globalThis.dragged").split(":", 2)
        assert (mime.partition("/")[0], dragged_name) == ("image", name)
        reply = page.context.request.get(url)
        assert (reply.headers["content-type"], reply.body()) == (mime, (EXAMPLES / name).read_bytes())
    page.keyboard.press("Escape")


def test_o_opens_the_original_in_a_new_tab(page: Page):
    page.locator("#tiles").focus()
    page.keyboard.press("Home")
    with page.context.expect_page() as opened:
        page.keyboard.press("o")
    opened.value.wait_for_url("**/original")
    opened.value.close()


def test_the_buttons_of_a_tile_copy_and_download_its_picture(page: Page):
    wait_for_pictures(page)
    tile = page.locator("#tile-1")
    before = tile.bounding_box()
    tile.hover()
    buttons = page.locator(".tile-buttons")
    place = buttons.bounding_box()
    assert before is not None
    assert place is not None
    assert tile.bounding_box() == before, "no layout shift"
    assert before["x"] <= place["x"]
    assert place["x"] + place["width"] <= before["x"] + before["width"]
    assert before["y"] <= place["y"]
    assert place["y"] + place["height"] <= before["y"] + before["height"]
    buttons.get_by_role("button", name="Copy").click()
    expect(page.locator("#toast")).to_contain_text("Image copied.")
    with page.expect_download() as started:
        buttons.get_by_role("button", name="Download").click()
    assert started.value.suggested_filename == unescaped_name(page, 1)
    page.locator("#search").hover()
    page.locator("#search").focus()
    expect(buttons).to_be_hidden()
    page.keyboard.press("ArrowDown")  # to the wall
    page.keyboard.press("Home")
    expect(buttons).to_be_visible()
    page.keyboard.press("Tab")
    expect(buttons.get_by_role("button", name="Copy")).to_be_focused()


def test_the_path_of_a_local_picture_can_be_copied(page: Page):
    page.locator("#tile-0").click()
    viewer = page.locator(".viewer")
    expect(viewer.locator(".primary")).to_have_text(["Copy"])
    expect(viewer.get_by_role("button", name="Copy link")).to_have_count(0)
    viewer.get_by_role("button", name="Copy path").click()
    expect(page.locator("#toast")).to_contain_text("Path copied.")
    assert page.evaluate("() => navigator.clipboard.readText()").endswith(f"memes/{unescaped_name(page, 0)}")
    page.keyboard.press("Escape")


@pytest.fixture
def with_video(page: Page, home: Home, tmp_path: Path) -> Iterator[Page]:
    """The tab while the newest file of the library is a video of six seconds."""
    frames = [Image.new("RGB", (160, 90), color) for color in ("red", "green", "blue") for _ in range(20)]
    home.ok("add", "--wait", str(save_clip(tmp_path / "clip.webm", frames, "libvpx")), timeout_s=READ_TIMEOUT_S)
    page.reload()
    expect(page.locator("#tile-0")).to_have_attribute("data-badge", "VIDEO")
    yield page
    page.evaluate(
        """async () => {
          const { assets } = await (await fetch("/v1/library?limit=1")).json();
          await fetch(`/v1/library/${assets[0].id}`, { method: "DELETE", headers: { "x-sploot-ui": "1" } });
        }"""
    )
    page.goto(page.url.partition("#")[0])
    page.reload()


def test_a_video_is_marked_on_the_wall_and_played_in_the_viewer(with_video: Page):
    page = with_video
    page.locator("#tile-0").click()
    player, picture = page.locator("#player"), page.locator("#picture")
    expect(player).to_be_visible()
    expect(picture).to_be_hidden()
    page.keyboard.press("c")
    wait_for_clipboard(page, (160, 90))
    size = player.evaluate(
        """async (player) => {
          if (player.readyState < 1) await new Promise((resolve) => player.addEventListener("loadedmetadata", resolve));
          player.currentTime = 5;
          await new Promise((resolve) => player.addEventListener("seeked", resolve));
          return [player.videoWidth, player.videoHeight, player.currentTime];
        }"""
    )
    assert size == [160, 90, 5]
    opened = page.context.new_page()
    opened.goto(player.evaluate("(player) => player.src"))
    opened.wait_for_function("() => document.querySelector('video').readyState >= 2")
    opened.close()
    page.keyboard.press("ArrowRight")
    expect(player).to_be_hidden()
    expect(picture).to_be_visible()
    page.keyboard.press("ArrowLeft")
    expect(player).to_be_visible()


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
    expect(page.locator("#tiles-notice")).to_have_text("Pictures that look or mean the same.")
    expect(page.locator("#tiles-count")).to_contain_text("match")
    page.go_back()  # to the viewer
    page.keyboard.press("Escape")
    expect(page.locator("#tiles-count")).to_have_text(f"{PICTURES} memes")


def test_a_delete_that_is_not_undone_reaches_the_library(home: Home, tab: Page):
    """Closing the tab sends the request without waiting for the end of the eight seconds."""
    page = open_view(tab.context, home, "library")
    expect(page.locator("#tiles-count")).to_have_text(f"{PICTURES} memes")
    page.locator("#tiles").focus()
    page.keyboard.press("Delete")
    expect(page.locator("#tiles-count")).to_have_text(f"{PICTURES - 1} memes")
    address = page.url.split("#")[0]
    page.goto("about:blank")
    deadline = time.monotonic() + READY_S_MAX
    while tab.context.request.get(f"{address}v1/library").json()["total"] != PICTURES - 1:
        assert time.monotonic() < deadline, "the picture is still in the library"
