"""A small still of a picture: upright, in WebP, of an animation the first frame, and nothing but pixels.

Runs in a worker process only. Nothing of the original's EXIF, where it was taken for one, goes with it.
"""

from pathlib import Path

from PIL import Image, ImageOps

from sploot_server.decoding import decoding, refuse_bomb

QUALITY = 80
METHOD = 2  # of WebP's encoder: a third of the time of the default for a few per cent more bytes


def still(original: Path, target: Path, side_px: int) -> None:
    """Write it to `target`, at most `side_px` on its longer side. Raises Unreadable or OSError."""
    with decoding(original) as image:
        refuse_bomb(image, side_px)
        frame: Image.Image = ImageOps.exif_transpose(image)
        frame = frame.convert("RGBA" if frame.has_transparency_data else "RGB")
        frame.thumbnail((side_px, side_px), reducing_gap=2.0)
    frame.info.clear()
    frame.save(target, "WEBP", quality=QUALITY, method=METHOD)
