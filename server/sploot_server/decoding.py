"""Opening a picture that anybody may have made. Runs in worker processes only: decoders may crash."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from PIL import Image, ImageFile, UnidentifiedImageError

from sploot_server.embedding import Unreadable
from sploot_server.formats import pillow_formats

FORMATS = pillow_formats()
PIXELS_MAX = 40_000_000  # to be decoded: twice 160 MB with transparency. JPEGs are decoded at a smaller scale

ImageFile.LOAD_TRUNCATED_IMAGES = True  # half a picture may still carry its whole caption
Image.MAX_IMAGE_PIXELS = None  # PIXELS_MAX says it in words


@contextlib.contextmanager
def decoding(path: Path) -> Iterator[Image.Image]:
    """The picture at `path`; whatever its decoder meets within the block becomes Unreadable. Raises OSError, too."""
    try:
        with Image.open(path, formats=FORMATS) as image:
            yield image
    except UnidentifiedImageError as error:
        raise Unreadable("The picture cannot be read: its content is not what its first bytes promise.") from error
    except OSError as error:
        if error.errno is not None:  # the disk's fault, not the picture's
            raise
        raise Unreadable(f"The picture cannot be read: {error}.") from error
    except (SyntaxError, ValueError, EOFError) as error:  # what Pillow's decoders raise besides
        raise Unreadable(f"The picture cannot be read: {error}.") from error


def refuse_bomb(image: Image.Image, side_px: int) -> None:
    """Let a JPEG be decoded no larger than needed; raise Unreadable if even so it would be too much."""
    width, height = image.size
    image.draft("RGB", (side_px, side_px))
    if image.width * image.height > PIXELS_MAX:
        most = PIXELS_MAX // 1_000_000
        raise Unreadable(f"The picture is {width} x {height} pixels; at most {most} million are read.")
