"""Make the tutorial's picture of `sploot top` from the example memes: python tests/top_picture.py docs/pictures."""

import asyncio
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

from browser import chromium
from PIL import Image
from screens import shown, until
from sploot.tui.app import TopApp
from sploot.tui.daemon_link import DaemonLink
from temp_home import home_in

from splootd.config import Paths

EXAMPLES = Path(__file__).parents[1] / "examples" / "memes"
SIZE = (142, 30)
COLOURS = 128
REMOTE_FONTS = re.compile(r"@font-face\s*\{.*?\}", re.DOTALL)


async def draw_screen(paths: Paths) -> str:
    """Return the screen as SVG when the queue is loaded."""
    app = TopApp(DaemonLink(paths))
    async with app.run_test(size=SIZE) as pilot:
        await until(app, pilot, lambda: any("Failed" in line for line in shown(app)[3:]))
        await pilot.press("m")
        await until(app, pilot, lambda: any("p95" in line for line in shown(app)))
        return app.export_screenshot(title="sploot top")


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    picture = folder / "top.png"
    with tempfile.TemporaryDirectory() as scratch, home_in(Path(scratch) / "home") as home:
        memes = home.folder / "memes"
        shutil.copytree(EXAMPLES, memes, ignore=shutil.ignore_patterns("README.md"))
        (memes / "half-downloaded.png").write_bytes(b"not an image")
        home.run("add", "--wait", str(memes))
        home.ok("pause")
        (memes / "monday.jpg").write_bytes((EXAMPLES / "meme-7-0000.jpg").read_bytes() + b"monday")
        home.ok("add", str(memes / "monday.jpg"))
        os.environ["HOME"] = str(home.folder)  # so that paths are shown with `~`
        svg = asyncio.run(draw_screen(Paths.from_environ(home.variables())))
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1800, "height": 900})
        page.set_content(REMOTE_FONTS.sub("", svg))
        page.locator("svg").screenshot(path=picture)
    with Image.open(picture) as full:
        full.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(picture, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
