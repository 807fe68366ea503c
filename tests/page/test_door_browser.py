"""A hostile page in the user's own browser, beside the page of Sploot: it can neither look in nor change anything.

It comes from another port of this machine, so to the browser it is the same site: it sends our cookie with what that
page asks for. What holds is the door itself.
"""

import http.server
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from homes import Home, home_in
from playwright.sync_api import Browser, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no browser to try it with: apt install chromium")

TRIES = """async (door) => {
  const tries = {
    read: () => fetch(door + '/v1/status', {credentials: 'include'}).then(reply => reply.text()),
    pause: () => fetch(door + '/v1/pause', {method: 'POST', credentials: 'include', mode: 'no-cors'}),
    pauseWithHeader: () => fetch(door + '/v1/pause',
      {method: 'POST', credentials: 'include', headers: {'X-Sploot-Page': '1'}}).then(reply => reply.text()),
    remove: () => fetch(door + '/v1/library/a', {method: 'DELETE', credentials: 'include'}),
    listen: () => new Promise((heard, deaf) => {
      const news = new EventSource(door + '/v1/events', {withCredentials: true});
      news.onopen = () => { news.close(); heard(); };
      news.onerror = () => { news.close(); deaf(new Error('deaf')); };
    }),
    look: () => loaded('img', door + '/static/icon.svg'),
    run: () => loaded('script', door + '/static/app.js'),
  };
  const loaded = (kind, src) => new Promise((yes, no) => {
    const it = document.createElement(kind);
    it.onload = yes;
    it.onerror = () => no(new Error('not loaded'));
    it.src = src;
    document.body.append(it);
  });
  const outcomes = {};
  for (const [name, act] of Object.entries(tries))
    outcomes[name] = await act().then(() => 'done', () => 'refused');
  return outcomes;
}"""


class _Hostile(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>free memes</title><body>")

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def hostile() -> Iterator[str]:
    """Where the hostile page is."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Hostile) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    with home_in(tmp_path_factory.mktemp("hostile") / "home", SPLOOT_SERVER="http://127.0.0.1:9") as home:
        yield home


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        names = "--host-resolver-rules=MAP evil.example 127.0.0.1"
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", names])
        yield browser
        browser.close()


def test_a_hostile_page_in_the_same_browser_changes_and_sees_nothing(home: Home, chromium: Browser):
    url = home.json("ui", "--no-open")["url"]
    door = url.partition("/enter")[0]
    context = chromium.new_context()
    ours = context.new_page()
    ours.goto(url)
    assert ours.evaluate("fetch('/v1/status').then(reply => reply.status)") == 200
    with hostile() as address:
        theirs = context.new_page()
        theirs.goto(address)
        outcomes = theirs.evaluate(TRIES, door)
        tried = ("read", "pause", "pauseWithHeader", "remove", "listen", "look", "run")
        assert outcomes == dict.fromkeys(tried, "refused")
        theirs.set_content(f'<iframe src="{door}/"></iframe><form method="post" action="{door}/v1/pause"></form>')
        theirs.wait_for_function("document.querySelector('iframe').contentDocument === null")
        assert all("Queue" not in (frame.content() if frame.url.startswith(door) else "") for frame in theirs.frames)
        with theirs.expect_navigation():
            theirs.evaluate("document.querySelector('form').submit()")
        assert "refused" in theirs.content()
    assert home.json("status")["daemon"]["state"] == "running"
    context.close()


def test_a_name_that_is_pointed_at_this_machine_shows_nothing(home: Home, chromium: Browser):
    """DNS rebinding: the name of a hostile page has become an address of this machine."""
    url = home.json("ui", "--no-open")["url"]
    port = url.split(":")[2].partition("/")[0]
    context = chromium.new_context()
    page = context.new_page()
    for address in (f"http://evil.example:{port}/", url.replace("127.0.0.1", "evil.example")):
        reply = page.goto(address)
        assert reply is not None
        assert reply.status == 421
    assert context.cookies() == []
    assert page.goto(url) is not None, "the address was not used up"
    assert page.url == f"http://127.0.0.1:{port}/"
    context.close()


def test_the_page_runs_and_asks_nothing_but_its_own(home: Home, chromium: Browser):
    """Whatever gets into it, a file name or a text in a picture: no inline script, and no word to another host."""
    context = chromium.new_context()
    page = context.new_page()
    page.goto(home.json("ui", "--no-open")["url"])
    assert page.evaluate("""() => new Promise(ended => {
        document.addEventListener('securitypolicyviolation', event => ended(event.effectiveDirective));
        const script = document.createElement('script');
        script.textContent = 'document.title = "mine"';
        document.head.append(script);
    })""").startswith("script-src")
    assert (
        page.evaluate("""() => new Promise(ended => {
        document.addEventListener('securitypolicyviolation', event => ended(event.effectiveDirective));
        fetch('http://127.0.0.1:9/').catch(() => {});
    })""")
        == "connect-src"
    )
    context.close()
