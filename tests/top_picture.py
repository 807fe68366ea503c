"""The picture of `sploot top` in the README, from the example memes: python tests/top_picture.py docs/pictures."""

import asyncio
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

from browser import chromium
from homes import home_in
from PIL import Image
from screens import shown, until
from sploot.topview.app import Top
from sploot.topview.link import Link

from splootd.config import Paths

EXAMPLES = Path(__file__).parents[1] / "examples" / "memes"
SIZE = (142, 30)
COLOURS = 128
FONTS_FROM_ELSEWHERE = re.compile(r"@font-face\s*\{.*?\}", re.DOTALL)


async def drawing(paths: Paths) -> str:
    """The screen as SVG, once the queue is on it."""
    app = Top(Link(paths))
    async with app.run_test(size=SIZE) as pilot:
        await until(app, pilot, lambda: any("dead" in line for line in shown(app)[3:]))
        await pilot.press("m")
        await until(app, pilot, lambda: any("p95" in line for line in shown(app)))
        return app.export_screenshot(title="sploot top")


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    picture = folder / "top.png"
    with tempfile.TemporaryDirectory() as scratch, home_in(Path(scratch) / "home") as home:
        memes = home.folder / "memes"
        shutil.copytree(EXAMPLES, memes, ignore=shutil.ignore_patterns("README.md"))
        (memes / "half-downloaded.png").write_bytes(b"nothing of a picture")
        home.run("add", "--wait", str(memes))
        home.ok("pause")
        (memes / "monday.jpg").write_bytes((EXAMPLES / "meme-7-0000.jpg").read_bytes() + b"monday")
        home.ok("add", str(memes / "monday.jpg"))
        os.environ["HOME"] = str(home.folder)  # so that paths are told as at home
        svg = asyncio.run(drawing(Paths.find(home.variables())))
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1800, "height": 900})
        page.set_content(FONTS_FROM_ELSEWHERE.sub("", svg))
        page.locator("svg").screenshot(path=picture)
    with Image.open(picture) as full:
        full.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(picture, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
