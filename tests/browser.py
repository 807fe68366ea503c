"""A real browser that looks at the page of a real daemon, and a queue that is long from the start."""

import asyncio
import hashlib
import shutil
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from homes import Home
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from splootd.store.database import Database
from splootd.store.ledger import server_id

LIMIT_MS = 30_000
expect.set_options(timeout=LIMIT_MS)
ARGUMENTS = ["--no-sandbox", "--disable-dev-shm-usage"]
COLUMNS = (
    "id, server_id, path, size, mtime_ns, device, inode, state, priority, shard, added_at, updated_at, attempts,"
    " sha256, asset_id, fault, reason, tags, force"
)
LAWS = "SELECT type, name, sql FROM sqlite_master WHERE tbl_name = 'items' AND type <> 'table' AND sql IS NOT NULL"
SUMS = """
SELECT server_id, state, priority, duplicate, state = 'pending' AND next_at IS NOT NULL, count(*), sum(size)
FROM items GROUP BY 1, 2, 3, 4, 5
"""
REASONS = ("the server refuses this file", "the server refuses files over 10 MB; this one has 24.1 MB " * 4)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Debian's browser without a window."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.skip("no browser: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


def entered(home: Home, browser: Browser, **options: object) -> BrowserContext:
    """A browser's profile that the daemon of `home` has let in. What its pages complain about fails the test."""
    context = browser.new_context(**options)  # type: ignore[arg-type]  # options of Playwright, by name
    context.set_default_timeout(LIMIT_MS)
    context.on("weberror", lambda error: pytest.fail(f"the page: {error.error}"))
    page = context.new_page()
    page.goto(home.ok("ui", "--no-open").strip())
    page.close()
    return context


def shown(context: BrowserContext, home: Home, view: str) -> Page:
    """A tab with this view, once it has heard of the daemon."""
    page = context.new_page()
    page.goto(f"{home.json('ui', '--no-open')['url'].split('/enter')[0]}/#{view}")
    page.wait_for_function("() => document.getElementById('standing').textContent !== 'connecting'")
    return page


def pictures_shown(page: Page) -> None:
    """Wait until every picture in view has been drawn, but for those that are none."""
    said = page.evaluate(
        """async () => {
          const end = performance.now() + 20000;
          let left = ["no tile"];
          while (left.length && performance.now() < end) {
            await new Promise(requestAnimationFrame);
            const all = [...document.querySelectorAll(".tile:not([data-broken]) img")];
            left = all.filter(image => !image.complete || !image.naturalWidth).map(image => image.src);
            if (!all.length) left = ["no tile"];
          }
          return left;
        }"""
    )
    assert said == [], said


def fill(file: Path, url: str, rows: int, *, dead_each: int = 10) -> None:
    """A queue of so many items for the server at `url`, paused; every `dead_each`th is a dead letter with a reason."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)

    async def make() -> int:
        database = await Database.open(file)
        try:
            return await server_id(database, url)
        finally:
            await database.close()

    with ThreadPoolExecutor(1) as aside:  # of the loop that a browser under test may hold
        server = aside.submit(lambda: asyncio.run(make())).result()
    with sqlite3.connect(file) as connection:
        connection.executescript("PRAGMA synchronous = OFF; PRAGMA cache_size = -400000;")
        connection.execute("INSERT INTO settings VALUES ('paused', 'yes', 0)")
        laws = connection.execute(LAWS).fetchall()
        for kind, name, _ in laws:  # a past is made up without them, in half the time
            connection.execute(f"DROP {kind} {name}")
        connection.executemany(
            f"INSERT INTO items ({COLUMNS}) VALUES ({', '.join('?' * 19)})",
            (_row(number, server, is_dead=number % dead_each == 0) for number in range(1, rows + 1)),
        )
        connection.execute(f"INSERT INTO counts {SUMS}")
        for _, _, law in laws:
            connection.execute(law)
    connection.close()


def _row(number: int, server: int, *, is_dead: bool) -> tuple[object, ...]:
    at = 1_700_000_000.0 + number
    path = b"/memes/folder-%d/meme-%07d.png" % (number % 7, number)
    file = (number, server, path, 1000 + number, number, 7, number)
    if is_dead:
        return (*file, "dead", 1, number % 16, at, at, 3, None, None, "refused", REASONS[number % 4 // 2], "[]", 0)
    digest = hashlib.sha256(path).digest()
    return (*file, "ready", 1, number % 16, at, at, 1, digest, f"a{number}", None, None, "[]", 0)
