"""Take the screenshots of the web UI for the README and the tutorial: python tests/web/pictures.py docs/pictures."""

import shutil
import sys
import tempfile
from pathlib import Path

from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))

from browser import chromium, open_view, signed_in, wait_for_pictures
from temp_home import home_in

EXAMPLES = Path(__file__).parents[2] / "examples" / "memes"
SCREEN = {"width": 1160, "height": 620}
BYTES_MAX = 200_000  # each
COLORS = 200
WEBP_QUALITY = 88


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch, home_in(Path(scratch) / "home") as home, chromium() as browser:
        memes = home.folder / "memes"
        shutil.copytree(EXAMPLES, memes, ignore=shutil.ignore_patterns("README.md"))
        home.ok("add", "--wait", str(memes))
        page = open_view(signed_in(home, browser, viewport=SCREEN, color_scheme="dark"), home, "library")
        wait_for_pictures(page)
        page.screenshot(path=folder / "library.png")
        page.emulate_media(color_scheme="light")
        page.locator("#to-activity").click()
        (memes / "half-downloaded.png").write_bytes(b"not a picture")
        page.locator(".row[data-state=failed]").wait_for()
        home.ok("pause")
        for name in ("monday.jpg", "not-my-cat.jpg"):
            (memes / name).write_bytes((EXAMPLES / "meme-7-0000.jpg").read_bytes() + name.encode())
            page.locator(".row", has_text=name).wait_for()
        page.locator("#rows-count", has_text="27 items").wait_for()
        page.screenshot(path=folder / "activity.png")
    with Image.open(folder / "activity.png") as full:
        full.convert("RGB").quantize(COLORS, dither=Image.Dither.NONE).save(folder / "activity.png", optimize=True)
    with Image.open(folder / "library.png") as full:
        full.convert("RGB").save(folder / "library.webp", quality=WEBP_QUALITY, method=6)
    (folder / "library.png").unlink()  # has too many colours for a small PNG
    for name in ("activity.png", "library.webp"):
        size_bytes = (folder / name).stat().st_size
        assert size_bytes < BYTES_MAX, f"{name} has {size_bytes} bytes"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
