"""Chromium for tests of the web UI against a real daemon, and a database with many items."""

import asyncio
import json
import shutil
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright
from temp_home import Home

from splootd.store.accounts import open_account
from splootd.store.database import Database

LIMIT_MS = 30_000
expect.set_options(timeout=LIMIT_MS)
CHROMIUM_ARGUMENTS = ["--no-sandbox", "--disable-dev-shm-usage"]
FILL = """
INSERT INTO items (
  id, server_id, path, size, mtime_ns, device, inode, state, priority, shard, added_at, updated_at, attempts, sha256,
  asset_id, error_code, error_message, tags, force
)
WITH RECURSIVE numbers (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM numbers WHERE n < :rows),
  items AS (SELECT n, n % :failed_every = 0 AS failed FROM numbers)
SELECT n, :server, CAST(printf('/memes/folder-%d/meme-%07d.png', n % 7, n) AS BLOB), 1000 + n, n, 7, n,
  iif(failed, 'failed', 'ready'), 1, n % 16, 1.7e9 + n, 1.7e9 + n, iif(failed, 3, 1), iif(failed, NULL, randomblob(32)),
  iif(failed, NULL, 'a' || n), iif(failed, 'rejected', NULL),
  iif(failed, iif(n % 4 < 2, :short_message, :long_message), NULL), '[]', 0
FROM items
"""
INDEXES_AND_TRIGGERS = (
    "SELECT type, name, sql FROM sqlite_master WHERE tbl_name = 'items' AND type <> 'table' AND sql IS NOT NULL"
)
COUNTS = """
SELECT server_id, state, priority, duplicate, state = 'pending' AND next_at IS NOT NULL, count(*), sum(size)
FROM items GROUP BY 1, 2, 3, 4, 5
"""
ERROR_MESSAGES = ("The server rejected this file.", "The server rejects files over 10 MB; this one has 24.1 MB. " * 4)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start Debian's Chromium without a window."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


def signed_in(home: Home, browser: Browser, **options: object) -> BrowserContext:
    """Return a browser context with a session at the daemon of `home`. A JavaScript error in it fails the test."""
    context = browser.new_context(**options)  # type: ignore[arg-type]  # options of Playwright, by name
    context.set_default_timeout(LIMIT_MS)
    context.on("weberror", lambda error: pytest.fail(f"JavaScript error: {error.error}"))
    page = context.new_page()
    page.goto(home.ok("ui", "--no-open").strip())
    page.close()
    return context


def open_view(context: BrowserContext, home: Home, view: str) -> Page:
    """Open a tab with this view and wait until it is connected to the daemon."""
    page = context.new_page()
    port = json.loads((home.state / "web-ui.json").read_text())["port"]
    page.goto(f"http://127.0.0.1:{port}/#{view}")
    page.wait_for_function("() => document.getElementById('daemon-state').textContent !== 'Connecting'")
    return page


def wait_for_pictures(page: Page) -> None:
    """Wait until every visible picture is loaded, except files that are no pictures."""
    missing = page.evaluate(
        """async () => {
          const end = performance.now() + 20000;
          let left = ["no tile"];
          while (left.length && performance.now() < end) {
            await new Promise(requestAnimationFrame);
            const all = [...document.querySelectorAll(".tile:not([data-picture=broken]) img")];
            left = all.filter(image => !image.complete || !image.naturalWidth).map(image => image.src);
            if (!all.length) left = ["no tile"];
          }
          return left;
        }"""
    )
    assert missing == [], missing


def fill_queue(file: Path, url: str, rows: int, *, failed_every: int = 10) -> None:
    """Write a paused queue of `rows` items for the server at `url`; every `failed_every`th has failed with an error."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)

    async def create() -> int:
        database = await Database.open(file)
        try:
            return (await open_account(database, url))[0]
        finally:
            await database.close()

    with ThreadPoolExecutor(1) as executor:  # Playwright's sync API runs an event loop in this thread
        server = executor.submit(lambda: asyncio.run(create())).result()
    with sqlite3.connect(file) as connection:
        connection.executescript("PRAGMA synchronous = OFF; PRAGMA cache_size = -400000;")
        connection.execute("INSERT INTO settings VALUES ('paused', 'yes', 0)")
        statements = connection.execute(INDEXES_AND_TRIGGERS).fetchall()
        for kind, name, _ in statements:  # triggers refuse items inserted in a final state; both cost half of the time
            connection.execute(f"DROP {kind} {name}")
        short, long = ERROR_MESSAGES
        connection.execute(
            FILL,
            {
                "rows": rows,
                "server": server,
                "failed_every": failed_every,
                "short_message": short,
                "long_message": long,
            },
        )
        connection.execute(f"INSERT INTO item_counts {COUNTS}")
        for _, _, statement in statements:
            connection.execute(statement)
    connection.close()
