"""Measure the wall and the search of the web UI in Chromium, with the daemon's library of many memes.

    python benchmarks/wall.py [--memes 100000] [--seconds 6]

The library has synthetic assets with the thumbnails of the example memes. For each size of the window it prints how
evenly frames follow each other while the wall scrolls, how many nodes it has, and the time from a keystroke in the
search box until its results are on the screen.
"""

import argparse
import io
import random
import sqlite3
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import captions
from browser import chromium, open_view, signed_in, wait_for_pictures
from PIL import Image
from playwright.sync_api import Browser, CDPSession, Page
from side_by_side import show
from synthetic_assets import asset_id, fill
from temp_home import Home, home_in

EXAMPLES = sorted((Path(__file__).parents[1] / "examples" / "memes").glob("*.jpg"))
SIZES = ((1440, 900), (2560, 1440))
THUMBNAILS_PX = (256, 512)
FRAME_MS = 1000 / 60
SCROLL_PX_PER_S = 3000
WORDS = 20  # that are typed
OBSERVE = """() => {
  globalThis.frames = [];
  globalThis.nodes = 0;
  let before = null;
  const look = (at) => {
    if (before !== null) frames.push(at - before);
    before = at;
    if (frames.length % 10 === 0) nodes = Math.max(nodes, document.querySelectorAll("#library *").length);
    globalThis.looking = requestAnimationFrame(look);
  };
  globalThis.looking = requestAnimationFrame(look);
}"""
STOP = "() => { cancelAnimationFrame(looking); return [frames, nodes]; }"
# The results are on the screen when the frame after the answer is painted: a message sent in it arrives then.
TIME_RESULTS = """() => {
  const tiles = document.getElementById("tiles");
  const { port1, port2 } = new MessageChannel();
  let typedAt = 0;
  globalThis.shown = null;
  document.getElementById("search").addEventListener("keydown", () => {
    typedAt = performance.now();
    shown = null;
  });
  port1.onmessage = () => (shown ??= performance.now() - typedAt);
  new MutationObserver(() => {
    if (!tiles.hasAttribute("aria-busy")) requestAnimationFrame(() => port2.postMessage(null));
  }).observe(tiles, { attributeFilter: ["aria-busy"] });
}"""


def make_library(folder: Path, count: int) -> None:
    """Fill the library of a home, and draw the thumbnails of its assets beforehand, as their analysis would have."""
    fill(folder, count)
    with sqlite3.connect(folder / "library.db") as connection:
        for number, example in enumerate(EXAMPLES):
            with Image.open(example) as picture:
                connection.execute(
                    "UPDATE assets SET width = ?, height = ?, created_at = row * 3600000 WHERE row % ? = ?",
                    (*picture.size, len(EXAMPLES), number),
                )
                drawn = {px: draw_thumbnail(folder, picture, px) for px in THUMBNAILS_PX}
            for row in range(number or len(EXAMPLES), count + 1, len(EXAMPLES)):
                for px, file in drawn.items():
                    target = folder / "thumbnails" / asset_id(row)[-2:] / f"{asset_id(row)}-{px}"
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.hardlink_to(file)
    connection.close()


def draw_thumbnail(folder: Path, picture: Image.Image, px: int) -> Path:
    thumbnail, content = picture.copy(), io.BytesIO()
    thumbnail.thumbnail((px, px))
    thumbnail.save(content, "webp")
    file = folder / f"{Path(getattr(picture, 'filename', '')).stem}-{px}"
    file.write_bytes(content.getvalue())
    return file


def measure_scrolling(page: Page, seconds: float) -> None:
    wait_for_pictures(page)
    browser = page.context.new_cdp_session(page)
    browser.send("Performance.enable")
    before = work_s(browser)
    page.evaluate(OBSERVE)
    gesture = {"x": 600, "y": 500, "yDistance": -round(SCROLL_PX_PER_S * seconds), "gestureSourceType": "mouse"}
    browser.send("Input.synthesizeScrollGesture", {**gesture, "speed": SCROLL_PX_PER_S})
    frames, nodes = page.evaluate(STOP)
    work_ms = 1000 * (work_s(browser) - before) / len(frames)
    late = sum(each > FRAME_MS + 1 for each in frames) / len(frames)
    show("  a frame while scrolling, p50 / p95", f"{statistics.median(frames):.1f} / {p95(frames):.1f} ms", "16.7 ms")
    show("  frames that took longer than 16.7 ms", f"{late:.1%} of {len(frames)}")
    show("  of which scripts, styles and layout, mean", f"{work_ms:.1f} ms")
    show("  nodes of the library at most", str(nodes), "200")


def work_s(browser: CDPSession) -> float:
    """Return how long the page has worked for itself. The rest is drawing, which is the processor's work here, too."""
    metrics = {each["name"]: each["value"] for each in browser.send("Performance.getMetrics")["metrics"]}
    return float(sum(metrics[name] for name in ("ScriptDuration", "LayoutDuration", "RecalcStyleDuration")))


def measure_search(page: Page, words: Sequence[str]) -> None:
    """Type words, and measure the last letter of each after a pause, as a person makes who looks at the results."""
    search, times = page.locator("#search"), []
    search.press_sequentially("monday ")  # starts the model
    page.wait_for_timeout(3000)
    page.evaluate(TIME_RESULTS)
    for word in words:
        search.fill(word[:-1])
        wait_for_pictures(page)
        search.press_sequentially(word[-1])
        page.wait_for_function("() => shown !== null")
        times.append(page.evaluate("() => shown"))
    figure = f"{statistics.median(times):.0f} / {p95(times):.0f} ms"
    show("  from a keystroke to shown results, p50 / p95", figure, "150 ms")


def p95(times: Sequence[float]) -> float:
    return statistics.quantiles(times, n=20)[-1]


def measure(home: Home, browser: Browser, size: tuple[int, int], seconds: float) -> None:
    width, height = size
    context = signed_in(home, browser, viewport={"width": width, "height": height})
    page = open_view(context, home, "library")
    print(f"{width} x {height}")
    measure_scrolling(page, seconds)
    words = [word for caption in captions.corpus() for word in caption.text.split() if len(word) > 3]
    measure_search(page, random.Random(1).sample(words, WORDS))
    context.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--memes", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=6, help="of scrolling")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, home_in(Path(scratch) / "home") as home:
        home.library.mkdir(mode=0o700, parents=True)
        make_library(home.library, arguments.memes)
        with chromium() as browser:
            for size in SIZES:
                measure(home, browser, size, arguments.seconds)


if __name__ == "__main__":
    main()
