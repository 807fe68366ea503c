"""The library view in Chromium, with as many pictures as a test wants: wall, search, address, viewer."""

import re
import statistics
from collections.abc import Iterator
from itertools import pairwise

import pytest
from browser import chromium
from library_host import LibraryHost, asset, library_host
from packages_of_npm import npm_package
from playwright.sync_api import Browser, Page, Route, expect

GAP_PX = 5
FRAME_MS = 1000 / 60
NODES_MAX = 200
MANY = 100_000
FRAMES = """async () => {
  const view = document.getElementById("tiles");
  const frames = [];
  let nodes = 0;
  for (let step = 0; step < 80; step += 1) {
    view.scrollTop += 160;
    const start = performance.now();
    view.dispatchEvent(new Event("scroll"));
    document.body.getBoundingClientRect();  // styles and layout belong to the frame
    frames.push(performance.now() - start);
    nodes = Math.max(nodes, document.querySelectorAll("#library *").length);
    await new Promise(requestAnimationFrame);
  }
  return [frames, nodes];
}"""
BOXES = """() => [...document.querySelectorAll(".tile")].map(tile => {
  const { x, y, width, height } = tile.getBoundingClientRect();
  return { id: Number(tile.id.slice(5)), x, y, width, height };
}).sort((a, b) => a.id - b.id)"""


@pytest.fixture(scope="module")
def host() -> Iterator[LibraryHost]:
    with library_host(100) as host:
        yield host


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def page(browser: Browser, host: LibraryHost) -> Iterator[Page]:
    """A page of 1,000 x 700 with 100 pictures."""
    host.reset(100)
    yield from open_page(browser, host)


@pytest.fixture
def phone(browser: Browser, host: LibraryHost) -> Iterator[Page]:
    host.reset(100)
    yield from open_page(browser, host, viewport={"width": 390, "height": 844}, has_touch=True)


def open_page(browser: Browser, host: LibraryHost, **options: object) -> Iterator[Page]:
    context = browser.new_context(**({"viewport": {"width": 1000, "height": 700}} | options))  # type: ignore[arg-type]
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    context.on("weberror", lambda error: pytest.fail(f"JavaScript error: {error.error}"))
    page = context.new_page()
    page.goto(host.url)
    page.locator("#tile-0[data-picture=loaded]").wait_for()
    yield page
    context.close()


def asked(host: LibraryHost, name: str) -> str | None:
    """Return a field of the last request for a list."""
    return next(fields for path, fields in reversed(host.requests) if path == "GET /v1/library").get(name)


def test_rows_are_full_in_true_ratios_with_small_gaps_from_edge_to_edge(page: Page):
    width = page.locator("#tiles-canvas").evaluate("canvas => canvas.clientWidth")
    rows: dict[float, list[dict[str, float]]] = {}
    for box in page.evaluate(BOXES):
        rows.setdefault(box["y"], []).append(box)
    assert len(rows) > 3
    for row in list(rows.values())[:-1]:
        assert (row[0]["x"], row[-1]["x"] + row[-1]["width"]) == (0, width)
        assert {right["x"] - left["x"] - left["width"] for left, right in pairwise(row)} <= {GAP_PX}
        for box in row:
            found = asset(int(box["id"]))
            ratio = max(0.4, found["width"] / found["height"])
            assert box["width"] / box["height"] == pytest.approx(ratio, rel=0.02)
    assert page.evaluate("document.documentElement.scrollWidth") == 1000


def test_100_000_pictures_scroll_within_the_time_of_a_frame_and_use_few_nodes(page: Page, host: LibraryHost):
    host.reset(MANY)
    page.reload()
    expect(page.locator("#tiles-count")).to_have_text("100,000 memes")
    frames, nodes = page.evaluate(FRAMES)
    assert nodes < NODES_MAX
    assert statistics.quantiles(frames, n=4)[0] < FRAME_MS  # the others may have waited for other programs
    page.locator("#tiles").focus()
    page.keyboard.press("End")
    expect(page.locator(f"#tile-{MANY - 1}")).to_have_attribute("data-name", re.compile(f"picture-{MANY - 1}"))
    expect(page.locator(f"#tile-{MANY - 1}")).to_be_in_viewport(ratio=0.99)
    lists = [fields for path, fields in host.requests if path == "GET /v1/library"]
    assert len(lists) < 30, "pages that are scrolled past are not loaded"


def test_a_page_that_loads_above_does_not_move_what_is_in_view(page: Page, host: LibraryHost):
    host.reset(MANY)
    page.reload()
    expect(page.locator("#tiles-count")).to_have_text("100,000 memes")
    page.evaluate("() => library.wall.jumpTo(6000)")
    page.locator("#tile-6010[data-picture=loaded]").wait_for()
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route("**/v1/library?*", hold)
    page.locator("#tiles").hover()
    page.mouse.wheel(0, -400)
    page.locator("#tile-5995[aria-label=Loading]").wait_for()
    page.wait_for_function("() => library.wall.scroll.scrollTop === document.getElementById('tiles').scrollTop")
    before = page.locator("#tile-6000").bounding_box()
    for route in held:
        route.continue_()
    page.unroute_all()
    page.locator("#tile-5995[data-picture=loaded]").wait_for()
    assert page.locator("#tile-6000").bounding_box() == before


def test_places_of_pictures_that_are_not_loaded_look_like_a_wall(page: Page, host: LibraryHost):
    host.reset(MANY)
    page.reload()
    page.locator("#tile-0:not([aria-label=Loading])").wait_for()
    page.route("**/v1/library?*", lambda route: None)
    page.evaluate("() => library.wall.jumpTo(6000)")
    page.locator("#tile-6000[aria-label=Loading]").wait_for()
    widths = {box["width"] for box in page.evaluate(BOXES)}
    assert len(widths) > 3
    page.unroute_all()


def test_arrow_keys_move_by_rows_and_pictures(page: Page):
    page.locator("#tiles").focus()
    page.keyboard.press("Home")
    boxes = {box["id"]: box for box in page.evaluate(BOXES)}
    page.keyboard.press("ArrowDown")
    below = boxes[page.evaluate("() => library.wall.cursor")]
    assert below["y"] > boxes[0]["y"]
    assert below["x"] < 200, "nearly the same column"
    page.keyboard.press("ArrowRight")
    assert page.evaluate("() => library.wall.cursor") == below["id"] + 1
    page.keyboard.press("ArrowUp")
    assert boxes[page.evaluate("() => library.wall.cursor")]["y"] == boxes[0]["y"]


def test_a_search_answers_as_you_type_marks_the_words_and_says_why(page: Page):
    page.evaluate(
        """() => { const search = document.getElementById("search"); search.value = "monday";
        globalThis.start = performance.now(); search.dispatchEvent(new Event("input"));
        globalThis.wasBusy = document.getElementById("search-slot").hasAttribute("data-busy"); }"""
    )
    page.wait_for_function(
        """() => document.getElementById("tiles-count").textContent === "25 matches"
        && (globalThis.took ??= performance.now() - start)"""
    )
    assert page.evaluate("() => globalThis.wasBusy"), "from the first key on"
    assert page.locator("#search-slot").get_attribute("data-busy") is None
    page.locator("#tile-1").hover()
    overlay = page.locator(".tile-overlay")
    expect(overlay.locator("mark")).to_have_text("MONDAY")
    expect(overlay.locator(".reason")).to_have_text("Matches “monday”")
    expect(page).to_have_url(re.compile(r"#library\?q=monday$"))


def test_a_search_without_an_answer_is_overtaken_by_what_is_typed_next(page: Page, host: LibraryHost):
    page.route("**/v1/library?*text=mo&*", lambda route: None)
    page.locator("#search").press_sequentially("mo", delay=0)
    page.locator("#search-slot[data-busy]").wait_for()
    page.locator("#search").press_sequentially("nday", delay=0)
    expect(page.locator("#tiles-count")).to_have_text("25 matches")
    expect(page.locator("#search-slot")).not_to_have_attribute("data-busy", "")
    assert asked(host, "text") == "monday"
    page.unroute_all()


def test_a_search_without_a_match_says_so_and_shows_the_nearest(page: Page):
    page.locator("#search").fill("xyzzy")
    expect(page.locator("#tiles-notice")).to_have_text("Nothing close to “xyzzy”. Nearest:")
    expect(page.locator("#tiles-count")).to_have_text("0 matches")
    assert page.locator(".tile").count() == 4
    page.locator("#show-all").click()
    expect(page.locator("#tiles-count")).to_have_text("100 memes")
    expect(page.locator("#search")).to_have_value("")


def test_back_closes_the_viewer_and_a_reload_keeps_search_picture_and_place(page: Page):
    page.locator("#search").fill("monday")
    expect(page.locator("#tiles-count")).to_have_text("25 matches")
    page.locator("#tile-2").click()
    expect(page.locator("#viewer-title")).to_contain_text("picture-8.png")
    page.keyboard.press("ArrowRight")
    expect(page).to_have_url(re.compile(r"#library\?q=monday&i=p12$"))
    page.reload()
    expect(page.locator("#viewer-title")).to_contain_text("picture-12.png")
    expect(page.locator("#search")).to_have_value("monday")
    page.go_back()
    expect(page.locator("dialog")).to_have_count(0)
    expect(page).to_have_url(re.compile(r"#library\?q=monday$"))
    page.go_forward()
    expect(page.locator("#viewer-title")).to_contain_text("picture-12.png")
    page.keyboard.press("Escape")
    expect(page.locator("dialog")).to_have_count(0)
    expect(page).to_have_url(re.compile(r"#library\?q=monday$"))
    page.locator("#search").fill("")
    expect(page.locator("#tiles-count")).to_have_text("100 memes")
    page.evaluate("() => library.wall.jumpTo(40)")
    page.wait_for_function("() => history.state?.index >= 40")
    index = page.evaluate("() => history.state.index")
    page.reload()
    page.wait_for_function("index => library.wall.first?.index === index", arg=index)


def test_hover_shows_words_tags_and_actions_and_moves_an_animation(page: Page, host: LibraryHost):
    host.changes["p4"] = {"tags": [{"id": "t1", "name": "work"}, {"id": "t2", "name": "cats"}]}
    page.reload()
    expect(page.locator("#tile-4")).to_have_attribute("data-badge", "GIF")
    page.locator("#tile-4").hover()
    overlay = page.locator(".tile-overlay")
    expect(overlay.locator(".words")).to_have_text("MONDAY NUMBER 4")
    expect(overlay.locator(".tile-tags")).to_have_text("\u2068work\u2069 · \u2068cats\u2069")
    page.wait_for_function("() => document.querySelector('.moving').naturalWidth > 0")
    assert page.locator(".moving").get_attribute("src") == "/v1/library/p4/original"
    expect(page.locator("#tile-4")).to_have_attribute("aria-label", re.compile("^.?MONDAY NUMBER 4.?, .?picture-4.gif"))
    overlay.get_by_role("button", name="Favourite").click()
    expect(overlay.get_by_role("button", name="Favourite")).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#tile-4")).to_have_attribute("data-badge", "★  GIF")
    page.emulate_media(reduced_motion="reduce")
    page.locator("#tile-0").hover()
    assert page.locator(".moving").get_attribute("src") is None
    page.locator("#tile-4").hover()
    expect(overlay.locator(".words")).to_have_text("MONDAY NUMBER 4")
    assert page.locator(".moving").get_attribute("src") is None, "the user wants no movement"


def test_a_deleted_picture_leaves_the_cursor_and_the_place_where_they_are(page: Page, host: LibraryHost):
    page.evaluate("() => library.wall.jumpTo(50)")
    page.locator("#tiles").focus()
    page.locator("#tile-60").wait_for()
    page.evaluate("() => library.wall.moveCursor(60)")
    first = page.evaluate("() => library.wall.first.asset.id")
    page.keyboard.press("Delete")
    expect(page.locator("#tiles-count")).to_have_text("99 memes")
    assert page.evaluate("() => library.wall.current.id") == "p61"
    assert page.evaluate("() => library.wall.first.asset.id") == first
    page.evaluate("() => dispatchEvent(new Event('pagehide'))")  # deletes at once
    page.wait_for_function("() => library.pages.findIndex(({ id }) => id === 'p60') < 0")
    assert page.evaluate("() => [library.wall.current.id, library.wall.cursor]") == ["p61", 60]
    expect(page.locator("#tiles-count")).to_have_text("99 memes")
    assert "p60" in host.deleted


def test_chips_and_orders_are_asked_of_the_host_and_hidden_where_it_lacks_them(page: Page, host: LibraryHost):
    page.get_by_role("button", name="GIFs").click()
    expect(page.locator("#tiles-count")).to_have_text("20 memes")
    assert asked(host, "kind") == "gif"
    page.get_by_role("button", name="GIFs").click()
    expect(page.locator("#tiles-count")).to_have_text("100 memes")
    page.locator("#sort").select_option("shuffle")
    page.wait_for_url("**sort=shuffle&seed=*")
    page.locator("#date").select_option(label="2025")
    page.wait_for_url("**after=*before=*")
    page.locator("#library-folder").select_option("t1")
    page.wait_for_url("**folder=*")
    page.wait_for_function("() => !document.getElementById('tiles').hasAttribute('aria-busy')")
    assert asked(host, "sort") == "shuffle"
    assert asked(host, "seed")
    assert (asked(host, "after") or "")[:4] in ("2024", "2025")  # local midnight
    assert asked(host, "folder") == "t1"
    host.features = {"thumbnails": True}
    page.goto(f"{host.url}?plain")
    expect(page.locator("#tiles-count")).to_have_text("100 memes")
    expect(page.get_by_role("button", name="GIFs")).to_be_hidden()
    expect(page.locator("#date")).to_be_hidden()
    assert page.locator("#sort option").all_text_contents() == ["Newest", "Oldest"]
    page.locator("#tile-0").click()
    expect(page.get_by_role("button", name="Similar")).to_be_hidden()


def test_scrolling_shows_the_date(page: Page):
    expect(page.locator(".scroll-date")).to_be_hidden()
    page.locator("#tiles").hover()
    page.mouse.wheel(0, 900)
    expect(page.locator(".scroll-date")).to_have_text("November 2026")


def test_the_viewer_zooms_pans_and_fills_the_screen(page: Page):
    page.locator("#tile-0").click()
    page.locator(".stage[data-picture=loaded]").wait_for()
    picture, stage = page.locator("#picture"), page.locator(".stage")
    for zoom_in in (
        lambda: page.keyboard.press("+"),
        lambda: picture.dblclick(position={"x": 200, "y": 200}),
        lambda: page.mouse.wheel(0, -200),
        lambda: page.get_by_role("button", name="Zoom in").click(),
    ):
        picture.hover()
        zoom_in()
        expect(stage).to_have_attribute("data-zoomed", "")
        before = picture.bounding_box()
        page.mouse.move(300, 300)
        page.mouse.down()
        page.mouse.move(340, 330)
        page.mouse.up()
        assert picture.bounding_box() != before
        page.keyboard.press("0")
        expect(stage).not_to_have_attribute("data-zoomed", "")
    page.keyboard.press("F")
    page.wait_for_function("() => document.fullscreenElement?.matches('.stage')")
    page.keyboard.press("F")
    page.wait_for_function("() => document.fullscreenElement === null")
    arrow, shown = page.locator(".step.next").bounding_box(), picture.bounding_box()
    assert arrow is not None
    assert shown is not None
    assert shown["x"] + shown["width"] <= arrow["x"] + 8, "the arrow is beside the picture"


def test_the_viewer_shows_words_date_and_path_and_copies_them(page: Page, host: LibraryHost):
    host.features["share"] = True
    page.reload()
    page.locator("#tile-0").click()
    details = page.locator(".details")
    expect(details.locator(".caption")).to_have_text("MONDAY NUMBER 0")
    expect(details).to_contain_text("1 December 2026")
    expect(details).to_contain_text("~/memes/2025/")
    details.get_by_role("button", name="Copy text").click()
    expect(page.locator("#toast")).to_have_text("Text copied.")
    assert page.evaluate("() => navigator.clipboard.readText()") == "MONDAY NUMBER 0"
    details.get_by_role("button", name="Copy path").click()
    expect(page.locator("#toast")).to_have_text("Path copied.")
    assert page.evaluate("() => navigator.clipboard.readText()").endswith("picture-0.png")
    expect(details.get_by_role("button", name="Share link")).to_be_visible()
    details.get_by_role("button", name="Show in folder").click()
    details.get_by_role("button", name="Copy", exact=True).click()
    expect(page.locator("#toast")).to_have_text("Image copied.")
    page.wait_for_function("() => true")
    for path in ("POST /v1/library/p0/reveal", "POST /v1/library/p0/copied"):
        for _ in range(200):
            if any(path == each for each, _ in host.requests):
                break
            page.evaluate("() => new Promise(requestAnimationFrame)")
        assert any(path == each for each, _ in host.requests), path


def test_a_template_is_named_in_the_viewer_and_leads_to_its_pictures(page: Page, host: LibraryHost):
    page.locator("#tile-0").click()
    expect(page.get_by_role("button", name="More of this template")).to_be_hidden()
    page.get_by_role("button", name="Name this template").click()
    page.locator("#template-name").fill("Distracted boyfriend")
    page.locator("#template-name").press("Enter")
    expect(page.locator("#toast")).to_have_text("Template saved.")
    expect(page.locator(".details")).to_contain_text("Distracted boyfriend")
    page.get_by_role("button", name="More of this template").click()
    expect(page.locator("#template")).to_have_value("Distracted boyfriend")
    expect(page.locator("#template option:checked")).to_have_text("\u2068Distracted boyfriend\u2069 (1)")
    assert asked(host, "template") == "Distracted boyfriend"
    page.locator("#template").select_option("")
    expect(page).to_have_url(re.compile(r"#library$"))
    page.go_back()
    expect(page.locator("#viewer-title")).to_contain_text("picture-0.png")


def test_on_a_phone_the_viewer_fills_the_screen_and_a_swipe_leads_on(phone: Page):
    phone.locator("#tile-0").tap()
    phone.locator(".stage[data-picture=loaded]").wait_for()
    box = phone.locator(".viewer").bounding_box()
    assert box == {"x": 0, "y": 0, "width": 390, "height": 844}
    swipe = """([from, to]) => { const stage = document.querySelector(".stage");
      const at = (type, x) => stage.dispatchEvent(new PointerEvent(type,
        { pointerId: 7, pointerType: "touch", clientX: x, clientY: 300, bubbles: true }));
      at("pointerdown", from); at("pointermove", to); at("pointerup", to); }"""
    phone.evaluate(swipe, [300, 120])
    expect(phone.locator("#viewer-title")).to_contain_text("picture-1.png")
    phone.evaluate(swipe, [120, 300])
    expect(phone.locator("#viewer-title")).to_contain_text("picture-0.png")
    assert phone.evaluate("document.documentElement.scrollWidth") == 390


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_no_serious_violation_on_the_wall_in_a_search_and_in_the_viewer(page: Page, theme: str):
    axe = (npm_package("axe-core", "4.14.1") / "axe.min.js").read_text("utf-8")
    page.emulate_media(color_scheme=theme, reduced_motion="reduce")  # type: ignore[arg-type]

    def violations() -> list[tuple[str, list[str]]]:
        page.evaluate(axe)
        found = page.evaluate("async () => (await axe.run(document)).violations")
        serious = [rule for rule in found if rule["impact"] in ("serious", "critical")]
        return [(rule["id"], [node["failureSummary"] for node in rule["nodes"]]) for rule in serious]

    page.locator("#tile-0").hover()
    assert violations() == []
    page.locator("#search").fill("xyzzy")
    expect(page.locator("#tiles-notice")).to_be_visible()
    assert violations() == []
    page.locator("#tile-0").click()
    page.locator(".stage[data-picture=loaded]").wait_for()
    assert violations() == []
