"""The two pictures of the page in the README, from the example memes: python tests/page/pictures.py docs/pictures."""

import shutil
import sys
import tempfile
from pathlib import Path

from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))

from browser import chromium, entered, pictures_shown, shown
from homes import home_in

EXAMPLES = Path(__file__).parents[2] / "examples" / "memes"
SCREEN = {"width": 1100, "height": 620}
BYTES_MAX = 200_000  # each
COLOURS = 128


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch, home_in(Path(scratch) / "home") as home, chromium() as browser:
        memes = home.folder / "memes"
        shutil.copytree(EXAMPLES, memes, ignore=shutil.ignore_patterns("README.md"))
        (memes / "half-downloaded.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"x" * 4000)
        home.run("add", "--wait", str(memes))
        home.ok("pause")
        for name in ("monday.jpg", "not-my-cat.jpg"):
            shutil.copy(EXAMPLES / "meme-7-0000.jpg", memes / name)
            with (memes / name).open("ab") as file:
                file.write(name.encode())
        home.ok("add", str(memes / "monday.jpg"), str(memes / "not-my-cat.jpg"))
        page = shown(entered(home, browser, viewport=SCREEN, color_scheme="light"), home, "queue")
        page.locator(".row[data-state=pending]").first.wait_for()
        page.screenshot(path=folder / "queue.png")
        page.emulate_media(color_scheme="dark")
        page.locator("#to-library").click()
        pictures_shown(page)
        page.mouse.move(0, 0)
        page.screenshot(path=folder / "library.png")
    for name in ("queue.png", "library.png"):
        picture = folder / name
        with Image.open(picture) as full:
            full.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(picture, optimize=True)
        assert picture.stat().st_size < BYTES_MAX, f"{picture} has {picture.stat().st_size} bytes"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
