"""Decoding of untrusted pictures to upright sRGB frames. Runs in worker processes only, because decoders may crash.

A frame looks as a browser shows it: `frame_colours.py` has the rules. Every frame's size is checked before its pixels
exist. Errors after the first frame end the frames, not the image.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple, NoReturn

from PIL import AvifImagePlugin, Image, ImageFile, UnidentifiedImageError, WebPImagePlugin  # noqa: F401 - register formats

from sploot_server.domain.embedding import UnreadableImage
from sploot_server.domain.image_formats import VIDEO_TYPES, pillow_formats
from sploot_server.domain.image_sizes import Size
from sploot_server.domain.sniff import SNIFF_BYTES, sniff
from sploot_server.inference import image_headers
from sploot_server.inference.frame_colours import to_srgb, to_true_colour
from sploot_server.inference.video_decode import decode_video
from sploot_server.inference.worker_memory import is_out_of_memory

PILLOW_FORMATS = pillow_formats()
HEAD_BYTES = 64  # enough for Pillow to tell its formats apart
# A few kilobytes of PNG can decode to gigabytes (decompression bomb), so the size in the header decides before anything
# is decoded. The limit costs up to 200 MB twice, with transparency.
MEGAPIXELS_MAX = 50
DECODED_PIXELS_MAX = MEGAPIXELS_MAX * 1_000_000
# A sequential JPEG is decoded at a reduced scale, row by row: this many stored pixels cost time, but no memory.
STORED_PIXELS_MAX = 500_000_000
ANIMATION_FRAMES_MAX = 100  # the middle and the last frame of these are decoded, after the first
ANIMATION_PIXELS_MAX = 200_000_000  # decoded on the way to the last frame, about a second's worth
ANIMATED_FORMATS = ("GIF", "PNG", "WEBP", "AVIF")  # other formats with several images hold depth maps or burst shots
EXIF_ORIENTATION = 0x0112
TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
ROTATED_ORIENTATIONS = (5, 6, 7, 8)

Image.preinit()  # registers the other formats that are read; `init` would import fifty more
ImageFile.LOAD_TRUNCATED_IMAGES = True  # a truncated image may still contain its whole caption
# Pillow checks its own limit at each seek, before a larger frame of a GIF gets memory; it raises an error at twice the
# limit, and warns before.
Image.MAX_IMAGE_PIXELS = DECODED_PIXELS_MAX // 2
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


class DecodedImage(NamedTuple):
    """The displayed size of an image, and its frames, upright in sRGB: RGB, or RGBA with transparency."""

    width: int
    height: int
    frames: Sequence[Image.Image]


def decode_image(path: Path, fit: Callable[[int, int], Size], *, with_later_frames: bool = False) -> DecodedImage:
    """Decode the first frame, and the middle and last ones of an animation or video, where the punch line tends to be.

    `fit` returns the size to which a frame is shrunk, whichever way up. Raises UnreadableImage, MemoryError or OSError.
    """
    with path.open("rb") as file:
        mime = sniff(file.read(SNIFF_BYTES)) or ""
        if mime in VIDEO_TYPES:
            return DecodedImage(*decode_video(path, mime, fit, with_later_frames=with_later_frames))
        try:
            return _decode(file, fit, with_later_frames=with_later_frames)
        except (MemoryError, UnreadableImage, Image.DecompressionBombError) as error:
            _raise_final(error)
        except Exception as error:  # noqa: BLE001 - decoders raise every class: SyntaxError, struct.error, RuntimeError
            file.seek(0)
            essential = image_headers.essential_png(file)
            if essential is None:
                _raise_final(error)
        try:  # as browsers do: what is broken beside the pixels of a PNG is left out
            return _decode(essential, fit, with_later_frames=False)
        except Exception as error:  # noqa: BLE001 - as above
            _raise_final(error)


def _raise_final(error: Exception) -> NoReturn:
    """Raise what `decode_image` promises, for any error of a decoder."""
    if isinstance(error, UnreadableImage):
        raise error
    if isinstance(error, OSError) and error.errno is not None:
        raise error  # an I/O error; Pillow's own OSErrors have no errno
    if is_out_of_memory(error):
        raise MemoryError from error
    if isinstance(error, Image.DecompressionBombError):
        raise UnreadableImage(f"The image is too large: the limit is {MEGAPIXELS_MAX} million pixels.") from error
    detail = "" if isinstance(error, UnidentifiedImageError) or not str(error) else f" ({str(error).rstrip('.')})"
    raise UnreadableImage(f"The image is damaged or in a form that this version cannot read{detail}.") from error


def _decode(file: BinaryIO, fit: Callable[[int, int], Size], *, with_later_frames: bool) -> DecodedImage:
    is_cut_off = image_headers.is_cut_off(file)
    with _open(file) as image:
        stored = image.size
        size = fit(*stored)
        image.draft("RGB", size)  # decodes a JPEG at a reduced scale
        _check_pixels(image.size, stored, DECODED_PIXELS_MAX)
        if getattr(image, "default_image", False):  # the animation of a PNG begins after an image for older programs
            image.seek(1)
        first = _decode_first_frame(image, is_cut_off=is_cut_off)
        orientation = _orientation(image)  # after the pixels: they may precede the EXIF of a PNG
        frames = [_finish(first, image, size, orientation)]
        if with_later_frames:
            frames += [_finish(frame, image, size, orientation) for frame in _later_frames(image, file)]
    width, height = _turn(stored, orientation)
    return DecodedImage(width, height, frames)


def _open(file: BinaryIO) -> Image.Image:
    """Open the image, and raise UnreadableImage if its size exceeds the limit."""
    file.seek(0)
    head = file.read(HEAD_BYTES)
    # Not `Image.open`: its limit ignores the reduced scale of a JPEG.
    for name in PILLOW_FORMATS:
        factory, accept = Image.OPEN[name]
        if accept is not None and accept(head) is True:
            is_single_scan = name == "JPEG" and image_headers.is_single_scan_jpeg(file)
            file.seek(0)
            image = factory(file, "")
            _check_pixels(image.size, image.size, STORED_PIXELS_MAX if is_single_scan else DECODED_PIXELS_MAX)
            return image
    raise UnidentifiedImageError


def _check_pixels(size: Size, stored: Size, pixels_max: int) -> None:
    if size[0] * size[1] > pixels_max:
        limit = pixels_max // 1_000_000
        raise UnreadableImage(f"The image has {stored[0]} x {stored[1]} pixels; the limit is {limit} million pixels.")


def _decode_first_frame(image: Image.Image, *, is_cut_off: bool) -> Image.Image:
    """Return the pixels in true colour; those that the file does not contain are transparent."""
    canvas = (0, 0, *image.size)
    stored_tiles = getattr(image, "tile", ())
    box = stored_tiles[0][1] if image.format == "GIF" and stored_tiles else canvas
    image.load()
    if is_cut_off and (decoded := image.getbbox(alpha_only=False)) is not None:
        box = (box[0], box[1], box[2], min(box[3], decoded[3]))
    frame = to_true_colour(image)
    if box == canvas or frame.mode == "CMYK":
        return frame
    placed = Image.new("RGBA", frame.size)
    placed.paste(frame.crop(box).convert("RGBA"), box[:2])
    return placed


def _later_frames(image: Image.Image, file: BinaryIO) -> Iterator[Image.Image]:
    """Decode the middle and the last frame. What is broken after the first frame ends the frames."""
    if image.format not in ANIMATED_FORMATS:
        return
    size = image.size
    try:
        if image.format == "GIF":
            count = image_headers.count_gif_frames(file, ANIMATION_FRAMES_MAX)
        else:
            count = min(getattr(image, "n_frames", 1), ANIMATION_FRAMES_MAX)
        first, last = image.tell(), min(count - 1, ANIMATION_PIXELS_MAX // (image.width * image.height))
        for frame in range(first + 1, last + 1):
            image.seek(frame)
            if image.size != size:  # Pillow enlarges a GIF for a frame that browsers would clip
                return
            if frame in (count // 2, last):
                image.load()
                yield to_true_colour(image)
    except Exception as error:
        if is_out_of_memory(error):
            raise MemoryError from error


def _finish(frame: Image.Image, image: Image.Image, size: Size, orientation: int) -> Image.Image:
    """Shrink a frame, convert it to sRGB and turn it upright."""
    if frame.size != size:
        frame = frame.resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0)
    frame = to_srgb(frame, image.info)
    if orientation in TRANSPOSITIONS:
        frame = frame.transpose(TRANSPOSITIONS[orientation])
    frame.info.clear()
    return frame


def _orientation(image: Image.Image) -> int:
    """Return the orientation from the EXIF, 1 to 8; broken EXIF says nothing."""
    exif = Image.Exif()
    try:
        exif.load(image.info.get("exif", b""))
        orientation = exif.get(EXIF_ORIENTATION)
    except Exception:  # noqa: BLE001 - its parser raises every class
        return 1
    return orientation if isinstance(orientation, int) else 1


def _turn(size: Size, orientation: int) -> Size:
    width, height = size
    return (height, width) if orientation in ROTATED_ORIENTATIONS else size
