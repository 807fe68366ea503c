"""The page of sploot-server in Chromium, at a desk and on a phone: sign-in, the library, sessions."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import LIMIT_MS, chromium, wait_for_pictures
from playwright.sync_api import Browser, BrowserContext, Page, expect
from team_server import TeamServer, team_server

MEMES = Path(__file__).parents[2] / "examples" / "memes"
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TeamServer]:
    with team_server(tmp_path_factory.mktemp("members") / "library") as team:
        for name, number in (("anna", "0000.jpg"), ("anna", "0001.png"), ("ben", "0002.jpg")):
            upload(team, name, f"meme-7-{number}")
        yield team


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def phone(browser: Browser) -> Iterator[BrowserContext]:
    with new_context(browser, **PHONE) as context:
        yield context


def new_context(browser: Browser, **options: object) -> BrowserContext:
    """Return a new browser of a member. A JavaScript error in it fails the test."""
    context = browser.new_context(**options)  # type: ignore[arg-type]  # options of Playwright, by name
    context.set_default_timeout(LIMIT_MS)
    context.on("weberror", lambda error: pytest.fail(f"JavaScript error: {error.error}"))
    return context


def upload(team: TeamServer, name: str, file: str) -> None:
    mime = "image/png" if file.endswith("png") else "image/jpeg"
    with team.member(name) as client:
        answer = client.post("/api/upload", files={"file": (file, (MEMES / file).read_bytes(), mime)})
        assert answer.status_code == 201, answer.text


def sign_in(context: BrowserContext, team: TeamServer, name: str) -> Page:
    page = context.new_page()
    page.goto(team.process.address)
    page.fill("#secret", team.tokens[name])
    page.keyboard.press("Enter")
    page.locator(".tile").first.wait_for()
    return page


def invitation(team: TeamServer, name: str) -> str:
    return team.admin("user", "invite", name, "--url", team.process.address).stdout.strip()


def test_a_member_signs_in_on_a_phone_and_sees_their_library_alone(team: TeamServer, phone: BrowserContext) -> None:
    page = phone.new_page()
    page.goto(team.process.address)
    page.fill("#secret", "sploot_wrong")
    page.locator("#sign-in button").tap()
    expect(page.locator("#sign-in-error")).to_contain_text("not valid")
    page.fill("#secret", team.tokens["anna"])
    page.locator("#sign-in button").tap()
    page.locator(".tile").first.wait_for()
    wait_for_pictures(page)
    expect(page.locator(".tile img")).to_have_count(2)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.reload()
    page.locator(".tile").first.wait_for()
    assert page.evaluate("document.cookie") == "", "no script can read the session"


def test_an_invitation_signs_in_by_one_tap_and_leaves_the_address(team: TeamServer, phone: BrowserContext) -> None:
    link = invitation(team, "ben")
    page = phone.new_page()
    page.goto(link)
    page.get_by_role("button", name="Open the library").tap()
    page.locator(".tile").first.wait_for()
    assert page.url == f"{team.process.address}/#library"
    with new_context(phone.browser, **PHONE) as other:  # type: ignore[arg-type]
        again = other.new_page()
        again.goto(link)
        again.get_by_role("button", name="Open the library").tap()
        expect(again.locator("#sign-in-error")).to_contain_text("used or has expired")


def test_a_picture_added_elsewhere_appears_and_a_deleted_one_goes(team: TeamServer, browser: Browser) -> None:
    with new_context(browser) as context:
        page = sign_in(context, team, "anna")
        expect(page.locator(".tile img")).to_have_count(2)
        upload(team, "anna", "meme-7-0004.jpg")
        expect(page.locator(".tile img")).to_have_count(3)
        with team.member("anna") as client:
            newest = client.get("/v1/library").json()["assets"][0]["id"]
            client.delete(f"/api/assets/{newest}")
        expect(page.locator(".tile img")).to_have_count(2)


def test_signing_out_everywhere_shows_the_sign_in_page_on_the_other_device(team: TeamServer, browser: Browser) -> None:
    with new_context(browser) as laptop, new_context(browser, **PHONE) as phone:
        page = sign_in(laptop, team, "anna")
        page.locator("#account").click()
        expect(page.locator("#sessions li")).not_to_have_count(0)
        expect(page.locator("#admin")).to_have_count(0)
        page.keyboard.press("Escape")
        assert team.admin("user", "admin", "anna").returncode == 0
        page.locator("#account").click()
        admin = page.get_by_role("region", name="All members")
        expect(admin).to_contain_text("anna")
        admin.get_by_role("button", name="Invite anna").click()
        expect(admin.locator("code")).to_contain_text("#invitation=")
        page.get_by_role("button", name="Create a link").click()
        link = page.locator("#device-link code").inner_text()
        other = phone.new_page()
        other.goto(link)
        other.get_by_role("button", name="Open the library").tap()
        other.locator(".tile").first.wait_for()
        page.get_by_role("button", name="Sign out everywhere").click()
        page.locator("#secret").wait_for()
        other.locator("#secret").wait_for()


def test_a_library_without_accounts_needs_no_sign_in(tmp_path: Path, browser: Browser) -> None:
    with team_server(tmp_path / "library", members=(), accounts=False) as server, new_context(browser) as context:
        page = context.new_page()
        page.goto(server.process.address)
        expect(page.locator("#tiles-message")).to_contain_text("empty")
        expect(page.locator("#account")).to_be_hidden()
