"""The library of a remote server in Chromium, through the daemon: the token never reaches the browser."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import memes
import pytest
from browser import chromium, open_view, signed_in, wait_for_pictures
from playwright.sync_api import Browser, Request, Response, expect
from temp_home import Home, home_in
from toy_library import COMMAND, ServerProcess

pytestmark = pytest.mark.models
PICTURES = 4


def token_at(data: Path) -> str:
    """Create a user and a token; from then on the server requires one."""
    for arguments in (("user", "add", "anna"), ("token", "create", "anna")):
        done = subprocess.run([*COMMAND, *arguments, "--data", str(data)], capture_output=True, text=True, check=True)
    return done.stdout.split()[-1]


@pytest.fixture(scope="module")
def sploot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The address of a library server and a token for it."""
    data = tmp_path_factory.mktemp("remote") / "library"
    server = ServerProcess(data, port=0)
    try:
        yield server.address, token_at(data)
    finally:
        server.stop()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, sploot: tuple[str, str]) -> Iterator[Home]:
    address, token = sploot
    folder = tmp_path_factory.mktemp("local") / "home"
    with home_in(folder, SPLOOT_SERVER=address, SPLOOT_TOKEN=token) as home:
        memes.make(folder / "memes", count=PICTURES, seed=51)
        home.ok("add", "--wait", str(folder / "memes"))
        yield home


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


def test_the_library_of_a_remote_server_is_shown_through_the_daemon(
    home: Home, browser: Browser, sploot: tuple[str, str], capsys: pytest.CaptureFixture[str]
):
    context = signed_in(home, browser, viewport={"width": 1000, "height": 700})
    requests: list[Request] = []
    responses: list[Response] = []

    def on_request(request: Request) -> None:
        requests.append(request)

    def on_response(response: Response) -> None:
        responses.append(response)

    context.on("request", on_request)
    context.on("response", on_response)
    page = open_view(context, home, "library")
    expect(page.locator("#tiles-count")).to_have_text(f"{PICTURES} memes")
    wait_for_pictures(page)
    page.locator("#tile-0").click()
    page.wait_for_function("() => document.getElementById('picture').naturalWidth > 100")
    page.locator(".viewer button", has_text="Favourite").click()
    expect(page.locator("#toast")).to_contain_text("Added to favourites.")
    page.keyboard.press("Escape")
    page.locator("#favorites").click()
    expect(page.locator("#tiles-count")).to_have_text("1 meme")
    page.locator("#favorites").click()
    page.locator("#search").fill("something funny")
    expect(page.locator("#tiles-count")).to_contain_text("match")
    page.locator("#to-settings").click()
    expect(page.locator("#server")).to_contain_text(sploot[0])

    hosts = {urlsplit(request.url).netloc for request in requests}
    with capsys.disabled():
        print(f"\n{len(requests)} requests of the web UI, to {', '.join(hosts)}")
    assert hosts == {urlsplit(page.url).netloc}
    secret = sploot[1].encode()
    bodies = [each.body() for each in responses if each.request.resource_type in ("document", "fetch", "image")]
    assert len(bodies) > PICTURES
    received = [*bodies, *(repr(each.headers).encode() for each in (*requests, *responses))]
    received += [request.post_data_buffer or b"" for request in requests]
    assert not [each for each in received if secret in each]
    page.close()
