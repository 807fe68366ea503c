"""Attacks by a hostile page in the user's browser: it can neither read from the web UI nor change anything.

The page is served from another port of 127.0.0.1. To the browser that is the same site, so SameSite cookies are sent
with its requests; only the checks of the web server itself reject them.
"""

import http.server
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import Browser, sync_playwright
from temp_home import Home, home_in

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed: apt-get install chromium")

ATTACKS = """async (origin) => {
  const attacks = {
    read: () => fetch(origin + '/v1/status', {credentials: 'include'}).then(reply => reply.text()),
    pause: () => fetch(origin + '/v1/pause', {method: 'POST', credentials: 'include', mode: 'no-cors'}),
    pauseWithHeader: () => fetch(origin + '/v1/pause',
      {method: 'POST', credentials: 'include', headers: {'X-Sploot-UI': '1'}}).then(reply => reply.text()),
    remove: () => fetch(origin + '/v1/library/a', {method: 'DELETE', credentials: 'include'}),
    subscribe: () => new Promise((resolve, reject) => {
      const events = new EventSource(origin + '/v1/events', {withCredentials: true});
      events.onopen = () => { events.close(); resolve(); };
      events.onerror = () => { events.close(); reject(new Error('no events')); };
    }),
    image: () => loaded('img', origin + '/static/ui/icon.svg'),
    script: () => loaded('script', origin + '/static/daemon/app.js'),
  };
  const loaded = (kind, src) => new Promise((resolve, reject) => {
    const element = document.createElement(kind);
    element.onload = resolve;
    element.onerror = () => reject(new Error('not loaded'));
    element.src = src;
    document.body.append(element);
  });
  const outcomes = {};
  for (const [name, act] of Object.entries(attacks))
    outcomes[name] = await act().then(() => 'done', () => 'rejected');
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
    """Serve the hostile page; yield its URL."""
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


def test_a_hostile_page_in_the_same_browser_can_neither_read_nor_change(home: Home, chromium: Browser):
    url = home.json("ui", "--no-open")["url"]
    origin = url.partition("/login")[0]
    context = chromium.new_context()
    ours = context.new_page()
    ours.goto(url)
    assert ours.evaluate("fetch('/v1/status').then(reply => reply.status)") == 200
    with hostile() as address:
        theirs = context.new_page()
        theirs.goto(address)
        outcomes = theirs.evaluate(ATTACKS, origin)
        attacks = ("read", "pause", "pauseWithHeader", "remove", "subscribe", "image", "script")
        assert outcomes == dict.fromkeys(attacks, "rejected")
        theirs.set_content(f'<iframe src="{origin}/"></iframe><form method="post" action="{origin}/v1/pause"></form>')
        theirs.wait_for_function("document.querySelector('iframe').contentDocument === null")
        assert all("Queue" not in (frame.content() if frame.url.startswith(origin) else "") for frame in theirs.frames)
        with theirs.expect_navigation():
            theirs.evaluate("document.querySelector('form').submit()")
        assert "not allowed" in theirs.content()
    assert home.json("status")["daemon"]["state"] == "running"
    context.close()


def test_dns_rebinding_is_rejected(home: Home, chromium: Browser):
    """The host name of a hostile page resolves to an address of this machine."""
    url = home.json("ui", "--no-open")["url"]
    port = url.split(":")[2].partition("/")[0]
    context = chromium.new_context()
    page = context.new_page()
    for address in (f"http://evil.example:{port}/", url.replace("127.0.0.1", "evil.example")):
        reply = page.goto(address)
        assert reply is not None
        assert reply.status == 421
    assert context.cookies() == []
    assert page.goto(url) is not None, "the login URL was not used up"
    page.wait_for_url(f"http://127.0.0.1:{port}/#library")
    context.close()


def test_the_content_security_policy_blocks_inline_scripts_and_other_hosts(home: Home, chromium: Browser):
    """Even if a file name or a caption injects markup, no inline script runs and no other host gets a request."""
    context = chromium.new_context()
    page = context.new_page()
    page.goto(home.json("ui", "--no-open")["url"])
    assert page.evaluate("""() => new Promise(resolve => {
        document.addEventListener('securitypolicyviolation', event => resolve(event.effectiveDirective));
        const script = document.createElement('script');
        script.textContent = 'document.title = "mine"';
        document.head.append(script);
    })""").startswith("script-src")
    assert (
        page.evaluate("""() => new Promise(resolve => {
        document.addEventListener('securitypolicyviolation', event => resolve(event.effectiveDirective));
        fetch('http://127.0.0.1:9/').catch(() => {});
    })""")
        == "connect-src"
    )
    context.close()
