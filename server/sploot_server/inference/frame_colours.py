"""Pixels of every mode as a browser shows them: eight bits per channel, true colour, sRGB, transparency as alpha."""

from collections.abc import Mapping
from io import BytesIO
from typing import Any

from PIL import Image, ImageCms

GREY_16_MODES = ("I;16", "I;16L", "I;16B", "I;16N", "I")
GREY_16_SCALE = 1 / 256  # of the more significant byte
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
PROFILE_MODES = {"RGB ": ("RGB", "L"), "GRAY": ("L",), "CMYK": ("CMYK",)}  # of frames, per colour space of a profile


def to_true_colour(image: Image.Image) -> Image.Image:
    """Return the image in a mode that can be resized: L, LA, RGB, RGBA or CMYK; the image itself if it is in one."""
    transparency = image.info.get("transparency")
    if image.mode in GREY_16_MODES:
        return _with_key_colour(_shrink_depth(image), None if transparency is None else transparency >> 8)
    if image.mode == "F":
        return image.convert("L")
    if image.mode in ("1", "L", "RGB") and transparency is not None:
        return _with_key_colour(image if image.mode != "1" else image.convert("L"), transparency)
    if image.mode in ("L", "LA", "RGB", "RGBA", "CMYK"):
        return image
    if image.mode == "1":
        return image.convert("L")
    return image.convert("RGBA" if image.has_transparency_data else "RGB")


def to_srgb(frame: Image.Image, info: Mapping[Any, Any]) -> Image.Image:
    """Return a frame of `to_true_colour` as RGB or RGBA, converted from the profile or the gamma in Pillow's `info`.

    A browser ignores a profile that is broken or does not fit the pixels; so does this function.
    """
    alpha = frame.getchannel("A") if frame.mode in ("LA", "RGBA") else None
    colours = frame.convert(frame.mode.rstrip("A")) if alpha is not None else frame
    if profile := info.get("icc_profile"):
        converted = _apply_profile(colours, profile)
    elif "srgb" not in info and (gamma := info.get("gamma")):
        converted = _apply_gamma(colours.convert("RGB"), gamma)
    else:
        converted = None
    if converted is None:
        return frame.convert("RGB" if alpha is None else "RGBA")
    if alpha is not None:
        converted.putalpha(alpha)
    return converted


def _apply_profile(colours: Image.Image, profile: bytes) -> Image.Image | None:
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        modes = PROFILE_MODES.get(source.profile.xcolor_space, ())
        if colours.mode not in modes:
            return None
        intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
        converted: Image.Image | None = ImageCms.profileToProfile(
            colours.convert(modes[0]), source, SRGB, intent, outputMode="RGB"
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None
    return converted


def _apply_gamma(colours: Image.Image, gamma: float) -> Image.Image:
    """Convert from a gamma of PNG (gAMA): light is sample ^ (1 / gamma)."""
    light = [(level / 255) ** (1 / gamma) for level in range(256)]
    table = [round(255 * _encode_srgb(each)) for each in light]
    converted: Image.Image = colours.point(table * len(colours.getbands()))
    return converted


def _encode_srgb(light: float) -> float:
    """Return the sRGB value, 0 to 1, of linear light (IEC 61966-2-1)."""
    return 12.92 * light if light <= 0.0031308 else 1.055 * light ** (1 / 2.4) - 0.055


def _shrink_depth(image: Image.Image) -> Image.Image:
    scaled: Image.Image = image.point(lambda level: level * GREY_16_SCALE)
    return scaled.convert("L")


def _with_key_colour(image: Image.Image, key: Any) -> Image.Image:
    """Return the image with alpha: pixels of the colour `key` are transparent."""
    if key is None:
        return image
    plain = image.copy()
    plain.info["transparency"] = key
    return plain.convert("LA" if image.mode == "L" else "RGBA")
