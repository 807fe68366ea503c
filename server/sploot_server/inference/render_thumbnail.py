"""Thumbnail rendering: upright WebP images of the first frame. Runs in worker processes only.

Thumbnails contain no metadata: the original's EXIF may contain the place where the image was taken.
"""

from pathlib import Path

from PIL import Image, ImageOps

from sploot_server.inference.image_decode import check_pixel_count, open_image

WEBP_QUALITY = 80
WEBP_METHOD = 2  # takes a third of the default's time, for a few per cent more bytes


def render_thumbnail(source: Path, target: Path, side_px: int) -> None:
    """Write the thumbnail to `target`, at most `side_px` on its longer side. Raises UnreadableImage or OSError."""
    with open_image(source) as image:
        check_pixel_count(image, side_px)
        frame: Image.Image = ImageOps.exif_transpose(image)
        frame = frame.convert("RGBA" if frame.has_transparency_data else "RGB")
        frame.thumbnail((side_px, side_px), reducing_gap=2.0)
    frame.info.clear()
    frame.save(target, "WEBP", quality=WEBP_QUALITY, method=WEBP_METHOD)
