"""The library of a Sploot elsewhere, in a real browser: seen through the daemon, which alone has the token."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import memes
import pytest
from browser import chromium, entered, pictures_shown, shown
from homes import Home, home_in
from playwright.sync_api import Browser, Request, Response, expect
from toy_library import COMMAND, ServerProcess

pytestmark = pytest.mark.models
PICTURES = 4


def token_at(data: Path) -> str:
    """A token for a library, which lets nobody in without one from now on."""
    for arguments in (("user", "add", "anna"), ("token", "create", "anna")):
        done = subprocess.run([*COMMAND, *arguments, "--data", str(data)], capture_output=True, text=True, check=True)
    return done.stdout.split()[-1]


@pytest.fixture(scope="module")
def sploot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The address of a library server and a token for it."""
    data = tmp_path_factory.mktemp("elsewhere") / "library"
    server = ServerProcess(data, port=0)
    try:
        yield server.address, token_at(data)
    finally:
        server.stop()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, sploot: tuple[str, str]) -> Iterator[Home]:
    address, token = sploot
    folder = tmp_path_factory.mktemp("here") / "home"
    with home_in(folder, SPLOOT_SERVER=address, SPLOOT_TOKEN=token) as home:
        memes.make(folder / "memes", count=PICTURES, seed=51)
        home.ok("add", "--wait", str(folder / "memes"))
        yield home


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


def test_the_library_of_a_sploot_elsewhere_is_looked_at_through_the_daemon(
    home: Home, browser: Browser, sploot: tuple[str, str], capsys: pytest.CaptureFixture[str]
):
    context = entered(home, browser, viewport={"width": 1000, "height": 700})
    asked: list[Request] = []
    answered: list[Response] = []

    def saw(request: Request) -> None:
        asked.append(request)

    def heard(response: Response) -> None:
        answered.append(response)

    context.on("request", saw)
    context.on("response", heard)
    page = shown(context, home, "library")
    expect(page.locator("#tiles-count")).to_have_text(f"{PICTURES} memes")
    pictures_shown(page)
    page.locator("#tile-0").click()
    page.wait_for_function("() => document.getElementById('picture').naturalWidth > 100")
    page.locator(".viewer button", has_text="Favourite").click()
    expect(page.locator("#said")).to_contain_text("A favourite now.")
    page.keyboard.press("Escape")
    page.locator("#favorites").click()
    expect(page.locator("#tiles-count")).to_have_text("1 meme")
    page.locator("#favorites").click()
    page.locator("#search").fill("something funny")
    expect(page.locator("#tiles-count")).to_contain_text("match")
    page.locator("#to-now").click()
    expect(page.locator("#server")).to_contain_text(sploot[0])

    hosts = {urlsplit(request.url).netloc for request in asked}
    with capsys.disabled():
        print(f"\n{len(asked)} requests of the page, to {', '.join(hosts)}")
    assert hosts == {urlsplit(page.url).netloc}
    secret = sploot[1].encode()
    bodies = [each.body() for each in answered if each.request.resource_type in ("document", "fetch", "image")]
    assert len(bodies) > PICTURES
    said = [*bodies, *(repr(each.headers).encode() for each in (*asked, *answered))]
    said += [request.post_data_buffer or b"" for request in asked]
    assert not [each for each in said if secret in each]
    page.close()
