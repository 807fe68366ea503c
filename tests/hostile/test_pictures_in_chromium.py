"""A hundred and twelve odd pictures, drawn by Chromium and by the thumbnail code, look alike.

Known differences, which the pictures here leave out: the orientation in the EXIF of a WebP is followed; a cut-off JPEG
keeps its decoded rows; a cut-off interlaced PNG or GIF is dotted; HDR is not tone-mapped.
"""

import base64
import io
import random
import struct
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import odd_pictures
from browser import chromium
from odd_pictures import saved
from PIL import Image, ImageFilter, PngImagePlugin
from sploot_server.domain.image_sizes import fit_within
from sploot_server.inference.image_decode import decode_image

SEEDS = 8  # pictures of each kind
GAMMAS = (100_000, 45_455, 60_000, 30_000)  # times 100,000
DIFFERENCE_MAX = 2.0  # mean of all channels, of 255; premultiplied by alpha
DRAW = """async encoded => {
  const image = new Image();
  image.src = "data:;base64," + encoded;
  await image.decode();
  const canvas = document.createElement("canvas");
  canvas.width = image.naturalWidth;
  canvas.height = image.naturalHeight;
  canvas.getContext("2d").drawImage(image, 0, 0);
  return canvas.toDataURL("image/png").split(",")[1];
}"""


def drawn(rng: random.Random) -> Image.Image:
    image = Image.new("RGB", (120, 80), "white")
    for _ in range(6):
        left, top = rng.randrange(100), rng.randrange(60)
        colour = (rng.randrange(256), rng.randrange(256), rng.randrange(256))
        image.paste(colour, (left, top, left + rng.randint(10, 60), top + rng.randint(10, 40)))
    return image.filter(ImageFilter.GaussianBlur(2))


def grey_16(image: Image.Image) -> Image.Image:
    return Image.fromarray(np.asarray(image.convert("L")).astype("u2") * 257)


def on_larger_screen(gif: bytes) -> bytes:
    return gif[:6] + bytes([200, 0, 150, 0]) + gif[10:]


def gamma_chunk(gamma: int) -> PngImagePlugin.PngInfo:
    info = PngImagePlugin.PngInfo()
    info.add(b"gAMA", struct.pack(">I", gamma))
    return info


def kinds(seed: int) -> Mapping[str, Callable[[], bytes]]:
    rng = random.Random(seed)
    image, grey, profile = drawn(rng), drawn(rng).convert("L"), odd_pictures.swapped_profile()
    orientation = Image.Exif()
    orientation[0x0112] = 1 + seed % 8
    return {
        "JPEG turned by EXIF": lambda: saved(image, "JPEG", exif=orientation.tobytes(), quality=90),
        "progressive JPEG with a profile": lambda: saved(image, "JPEG", icc_profile=profile, progressive=True),
        "grey JPEG": lambda: saved(grey, "JPEG"),
        "CMYK JPEG": lambda: saved(image.convert("CMYK"), "JPEG"),
        "palette with transparency": lambda: saved(
            image.convert("P", palette=Image.Palette.ADAPTIVE, colors=64), "PNG", transparency=bytes(range(0, 256, 4))
        ),
        "sixteen bits of grey": lambda: saved(grey_16(image), "PNG"),
        "one bit": lambda: saved(image.convert("1"), "PNG"),
        "grey with transparency": lambda: saved(Image.merge("LA", (grey, image.getchannel("R"))), "PNG"),
        "PNG with a profile": lambda: saved(image, "PNG", icc_profile=profile),
        "PNG with a gamma": lambda: saved(image, "PNG", pnginfo=gamma_chunk(GAMMAS[seed % len(GAMMAS)])),
        "cut-off PNG": lambda: (data := saved(image, "PNG"))[: len(data) * 2 // 3],
        "GIF on a larger screen": lambda: on_larger_screen(saved(image.convert("P"), "GIF", interlace=seed % 2)),
        "WebP with transparency": lambda: saved(Image.merge("RGBA", (*image.split(), grey)), "WEBP", quality=90),
        "animated PNG": lambda: odd_pictures.apng([image, drawn(rng), drawn(rng)], default_image=bool(seed % 2)),
    }


def premultiplied(image: Image.Image) -> "np.ndarray[tuple[int, ...], np.dtype[np.float64]]":
    pixels = np.asarray(image.convert("RGBA")).astype(float)
    pixels[..., :3] *= pixels[..., 3:] / 255
    return pixels


def test_odd_pictures_look_as_in_chromium(tmp_path: Path) -> None:
    differences: dict[str, object] = {}
    with chromium() as browser:
        page = browser.new_page()
        for seed in range(SEEDS):
            for kind, make in kinds(seed).items():
                file = tmp_path / "picture"
                file.write_bytes(make())
                (ours,) = decode_image(file, partial(fit_within, side_px=4096)).frames
                encoded = page.evaluate(DRAW, base64.b64encode(file.read_bytes()).decode())
                theirs = Image.open(io.BytesIO(base64.b64decode(encoded)))
                if ours.size != theirs.size:
                    differences[f"{kind} {seed}"] = (ours.size, theirs.size)
                elif (mean := float(np.abs(premultiplied(ours) - premultiplied(theirs)).mean())) > DIFFERENCE_MAX:
                    differences[f"{kind} {seed}"] = mean
    assert differences == {}
