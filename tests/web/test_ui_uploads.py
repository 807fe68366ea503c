"""Uploads from a phone in Chromium: several files at once, offline, over reloads, from other apps; exactly once."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import LIMIT_MS, chromium
from playwright.sync_api import Browser, BrowserContext, Page, expect
from team_server import TeamServer, team_server

MEMES = sorted((Path(__file__).parents[2] / "examples" / "memes").glob("meme-*"))
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
LARGE_BYTES = 9_000_000


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TeamServer]:
    with team_server(tmp_path_factory.mktemp("uploads") / "library", members=("anna", "ben", "cleo", "dora")) as team:
        yield team


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def phone(browser: Browser) -> Iterator[BrowserContext]:
    with browser.new_context(**PHONE) as context:  # type: ignore[arg-type]  # options of Playwright, by name
        context.set_default_timeout(LIMIT_MS)
        context.on("weberror", lambda error: pytest.fail(f"JavaScript error: {error.error}"))
        yield context


def sign_in(phone: BrowserContext, team: TeamServer, name: str) -> Page:
    page = phone.new_page()
    page.goto(team.process.address)
    page.fill("#secret", team.tokens[name])
    page.locator("#sign-in button").tap()
    page.locator("#add").wait_for()
    page.evaluate("navigator.serviceWorker.ready.then(() => {})")
    page.wait_for_function("navigator.serviceWorker.controller !== null")
    return page


def choose(page: Page, *files: Path) -> None:
    with page.expect_file_chooser() as chooser:
        page.locator("#add").tap()
    chooser.value.set_files(list(files))


def checksums(team: TeamServer, name: str) -> list[str]:
    with team.member(name) as client:
        return sorted(asset["checksum"] for asset in client.get("/api/assets").json()["assets"])


def hashes(*files: Path) -> list[str]:
    return sorted(hashlib.sha256(file.read_bytes()).hexdigest() for file in files)


def large_picture(folder: Path) -> Path:
    """Return a picture that is sent in several chunks: its pixels are followed by bytes that no decoder reads."""
    file = folder / "large.jpg"
    file.write_bytes(MEMES[0].read_bytes() + bytes(LARGE_BYTES))
    return file


def test_several_pictures_chosen_at_once_are_added_exactly_once(team: TeamServer, phone: BrowserContext) -> None:
    page = sign_in(phone, team, "anna")
    expect(page.locator("#tiles-message")).to_have_text("The library is empty. Press Add to choose or take pictures.")
    choose(page, *MEMES[:5], MEMES[0])
    expect(page.locator("#toast")).to_have_text("Added 5 files. 1 file already in the library.")
    expect(page.locator("#uploads")).to_be_hidden()
    expect(page.locator(".tile img")).to_have_count(5)
    expect(page.locator("#tiles-count")).to_have_text("5 memes")
    expect(page.locator("#tiles-count")).to_be_in_viewport(ratio=1)
    assert checksums(team, "anna") == hashes(*MEMES[:5])
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_what_is_added_without_a_connection_is_kept_over_a_reload_and_sent_later(
    team: TeamServer, phone: BrowserContext
) -> None:
    page = sign_in(phone, team, "ben")
    choose(page, MEMES[6])
    expect(page.locator(".tile img")).to_have_count(1)
    page.reload()  # the worker stores the list with the first picture
    expect(page.locator(".tile[data-picture=loaded]")).to_have_count(1)
    phone.set_offline(True)
    choose(page, MEMES[7], MEMES[8])
    expect(page.locator("#uploads")).to_contain_text("2 files waiting for a connection")
    page.reload()
    expect(page.locator(".tile[data-picture=loaded]")).to_have_count(1)  # the page, its list and the thumbnail
    expect(page.locator("#uploads")).to_contain_text("2 files waiting for a connection")
    stored = page.evaluate(
        """async () => {
          const urls = [];
          for (const name of await caches.keys()) {
            for (const { url } of await (await caches.open(name)).keys()) urls.push(new URL(url).pathname);
          }
          return urls;
        }"""
    )
    assert any(path.endswith("/thumbnail") for path in stored)
    assert not any(path.endswith("/original") for path in stored)
    phone.set_offline(False)
    expect(page.locator("#uploads")).to_be_hidden()
    assert checksums(team, "ben") == hashes(*MEMES[6:9])


def test_a_large_picture_continues_where_the_connection_broke(
    team: TeamServer, phone: BrowserContext, tmp_path: Path
) -> None:
    page = sign_in(phone, team, "cleo")
    file, chunks = large_picture(tmp_path), []

    def break_third_chunk(route: object, request: object) -> None:
        if request.method == "PATCH":  # type: ignore[attr-defined]
            chunks.append(request.headers["upload-offset"])  # type: ignore[attr-defined]
        if len(chunks) == 3 and request.method == "PATCH":  # type: ignore[attr-defined]
            route.abort()  # type: ignore[attr-defined]
        else:
            route.continue_()  # type: ignore[attr-defined]

    page.route("**/api/upload/resumable/*", break_third_chunk)
    choose(page, file)
    expect(page.locator("#toast")).to_have_text("Added 1 file.")
    offsets = list(map(int, chunks))
    assert offsets == sorted(offsets), "no byte is sent again that the server has"
    assert offsets[2] == offsets[3] > 0, "the broken chunk is repeated"
    assert checksums(team, "cleo") == hashes(file)


def test_a_refused_file_is_named_with_its_reason_until_it_is_removed(
    team: TeamServer, phone: BrowserContext, tmp_path: Path
) -> None:
    page = sign_in(phone, team, "dora")
    text = tmp_path / "notes.png"
    text.write_text("not a picture")
    choose(page, text, MEMES[9])
    expect(page.locator(".failures li")).to_contain_text("File type not supported")
    expect(page.locator(".failures .file-name")).to_contain_text("notes.png")
    page.reload()
    expect(page.locator(".failures li")).to_have_count(1)
    page.get_by_role("button", name="Remove").tap()
    expect(page.locator("#uploads")).to_be_hidden()
    assert checksums(team, "dora") == hashes(MEMES[9])


def test_a_picture_shared_from_another_app_is_added(team: TeamServer, phone: BrowserContext) -> None:
    page = sign_in(phone, team, "dora")
    before = checksums(team, "dora")
    manifest = page.evaluate("fetch('/static/server/sploot.webmanifest').then((answer) => answer.json())")
    target = manifest["share_target"]
    field = target["params"]["files"][0]["name"]
    page.evaluate(
        """async ([action, field, bytes]) => {
          const form = new FormData();
          form.append(field, new File([new Uint8Array(bytes)], "shared.jpg", { type: "image/jpeg" }));
          const answer = await fetch(action, { method: "POST", body: form });
          location.href = answer.url;
        }""",
        [target["action"], field, list(MEMES[10].read_bytes())],
    )
    expect(page.locator("#toast")).to_have_text("Added 1 file.")
    assert checksums(team, "dora") == sorted([*before, *hashes(MEMES[10])])


def test_the_page_can_be_installed(team: TeamServer, phone: BrowserContext) -> None:
    page = sign_in(phone, team, "anna")
    session = phone.new_cdp_session(page)
    manifest = session.send("Page.getAppManifest")
    assert manifest["errors"] == []
    errors = session.send("Page.getInstallabilityErrors")["installabilityErrors"]
    assert [each["errorId"] for each in errors if each["errorId"] != "in-incognito"] == []
