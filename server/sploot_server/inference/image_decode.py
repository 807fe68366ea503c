"""Decoding of untrusted images. Runs in worker processes only, because decoders may crash."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from PIL import Image, ImageFile, UnidentifiedImageError

from sploot_server.domain.embedding import UnreadableImage
from sploot_server.domain.image_formats import pillow_formats

PILLOW_FORMATS = pillow_formats()
# A few kilobytes of PNG can decode to gigabytes (decompression bomb), so the size in the header decides before anything
# is decoded. The limit costs up to 160 MB twice, with transparency. JPEGs are decoded at a reduced scale.
DECODED_PIXELS_MAX = 40_000_000

ImageFile.LOAD_TRUNCATED_IMAGES = True  # a truncated image may still contain its whole caption
Image.MAX_IMAGE_PIXELS = None  # DECODED_PIXELS_MAX replaces Pillow's own limit, which ignores the reduced scale


@contextlib.contextmanager
def open_image(path: Path) -> Iterator[Image.Image]:
    """Open the image at `path`; translate decoder errors within the block to UnreadableImage. Raises OSError."""
    try:
        with Image.open(path, formats=PILLOW_FORMATS) as image:
            yield image
    except UnidentifiedImageError as error:
        raise UnreadableImage("The image cannot be decoded: its content does not match its file signature.") from error
    except OSError as error:
        if error.errno is not None:  # an I/O error; Pillow's own OSErrors have no errno
            raise
        raise UnreadableImage(f"The image cannot be decoded: {error}.") from error
    except (SyntaxError, ValueError, EOFError) as error:  # Pillow's decoders raise these as well
        raise UnreadableImage(f"The image cannot be decoded: {error}.") from error


def check_pixel_count(image: Image.Image, side_px: int) -> None:
    """Reduce the scale at which a JPEG is decoded; raise UnreadableImage if the image still has too many pixels."""
    width, height = image.size
    image.draft("RGB", (side_px, side_px))
    if image.width * image.height > DECODED_PIXELS_MAX:
        limit = DECODED_PIXELS_MAX // 1_000_000
        raise UnreadableImage(f"The image has {width} x {height} pixels; the limit is {limit} million pixels.")
