"""A folder with a model that knows pictures and texts alike (CLIP and its kin), as its owner has exported it to ONNX.

    manifest.json    says how to use the others; see `Manifest`
    visual.onnx      pictures to vectors
    textual.onnx     texts to vectors, in the same space
    tokenizer.json   of the texts, as the library `tokenizers` reads it

    {"name": "mobileclip-s0", "dim": 512, "normalise": true, "cosines": [0.1, 0.35],
     "image": {"size": [224, 224], "mean": [0, 0, 0], "std": [1, 1, 1], "input": "pixel_values", "output": "embeds"},
     "text": {"context": 77, "pad": 0, "input": "input_ids", "mask": null, "output": "embeds"}}

Nothing is ever downloaded.
"""

import hashlib
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILES = ("visual.onnx", "textual.onnx", "tokenizer.json")
MANIFEST_BYTES_MAX = 64 * 1024
SIDE_PX_MAX = 4096
CONTEXT_MAX = 4096
DIM_MAX = 16_384
CHECK_S_MAX = 120.0


class ModelUnusable(Exception):
    """The folder holds no model that can be used; the message has a sentence for each thing that is wrong."""


@dataclass(frozen=True, slots=True)
class Images:
    """`size` is (width, height) in pixels; `mean` and `std` are of red, green and blue between 0 and 1."""

    size: tuple[int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    input: str
    output: str


@dataclass(frozen=True, slots=True)
class Texts:
    """`context` tokens are put in, filled up with `pad`; `mask` is the input that says which are filled up, if any."""

    context: int
    pad: int
    input: str
    mask: str | None
    output: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """`cosines` are what unrelated and what perfectly matching pictures and texts come to, in this model.

    `normalise` says that the vectors still have to be brought to length 1. `revision` changes with the files.
    """

    name: str
    dim: int
    normalise: bool
    cosines: tuple[float, float]
    image: Images
    text: Texts
    revision: str

    @classmethod
    def read(cls, folder: Path) -> "Manifest":
        """Raises ModelUnusable. The graphs themselves are not opened: see `check`."""
        missing = [name for name in ("manifest.json", *FILES) if not (folder / name).is_file()]
        if missing:
            raise ModelUnusable(f"{folder} has no {', no '.join(missing)}.")
        fields = _Fields(folder / "manifest.json")
        image, text = fields.inside("image"), fields.inside("text")
        manifest = cls(
            name=fields.text("name"),
            dim=fields.whole("dim", 1, DIM_MAX),
            normalise=fields.truth("normalise"),
            cosines=fields.numbers("cosines", 2),
            image=Images(
                size=image.numbers("size", 2, whole=SIDE_PX_MAX),
                mean=image.numbers("mean", 3),
                std=image.numbers("std", 3),
                input=image.text("input"),
                output=image.text("output"),
            ),
            text=Texts(
                context=text.whole("context", 1, CONTEXT_MAX),
                pad=text.whole("pad", 0, 2**31),
                input=text.text("input"),
                mask=None if text.is_null("mask") else text.text("mask"),
                output=text.text("output"),
            ),
            revision=_revision(folder),
        )
        wrong = [*fields.wrong, *image.wrong, *text.wrong]
        if not wrong and manifest.cosines[0] >= manifest.cosines[1]:
            wrong.append("cosines must be two numbers, the lower one first.")
        if not wrong and 0 in manifest.image.std:
            wrong.append("image.std must not be 0.")
        if wrong:
            raise ModelUnusable(f"{folder / 'manifest.json'}: {' '.join(wrong)}")
        return manifest


def check(folder: Path) -> Manifest:
    """Try the model in a process of its own, which may die of it. Raises ModelUnusable."""
    manifest = Manifest.read(folder)
    command = [sys.executable, "-P", "-m", "sploot_server.clip", str(folder)]
    try:
        tried = subprocess.run(command, capture_output=True, text=True, check=False, timeout=CHECK_S_MAX)  # noqa: S603 - ourselves
    except subprocess.TimeoutExpired as error:
        raise ModelUnusable(f"The model in {folder} took longer than {CHECK_S_MAX:.0f} s for one picture.") from error
    if tried.returncode != 0:
        said = tried.stdout.strip() or f"trying it ended with {tried.returncode}: {tried.stderr.strip()[-300:]}"
        raise ModelUnusable(f"The model in {folder} cannot be used: {said}")
    return manifest


class _Fields:
    """The fields of one object of a manifest; what is wrong with them is collected in `wrong`."""

    def __init__(self, source: Path | Any, place: str = "") -> None:
        self.wrong: list[str] = []
        self._place = place
        self._values = self._parsed(source) if isinstance(source, Path) else source
        if not isinstance(self._values, dict):
            self.wrong.append(f"{place.rstrip('.') or 'It'} must be an object.")
            self._values = {}

    def inside(self, name: str) -> "_Fields":
        return _Fields(self._values.get(name), f"{self._place}{name}.")

    def is_null(self, name: str) -> bool:
        return self._values.get(name) is None

    def text(self, name: str) -> str:
        value = self._values.get(name)
        return value if isinstance(value, str) and value else self._refuse(name, "a name", "")

    def truth(self, name: str) -> bool:
        value = self._values.get(name)
        return value if isinstance(value, bool) else self._refuse(name, "true or false", False)

    def whole(self, name: str, least: int, most: int) -> int:
        value = self._values.get(name)
        fits = type(value) is int and least <= value <= most
        return int(value) if fits else int(self._refuse(name, f"a whole number from {least} to {most}", least))

    def numbers(self, name: str, count: int, *, whole: int | None = None) -> Any:
        """A tuple of `count` numbers; whole ones from 1 to `whole`, if that is given."""
        value = self._values.get(name)
        fits = isinstance(value, list) and len(value) == count
        if whole is None:
            fits = fits and all(type(each) in (int, float) for each in value)
            return tuple(map(float, value)) if fits else self._refuse(name, f"{count} numbers", (1.0,) * count)
        fits = fits and all(type(each) is int and 1 <= each <= whole for each in value)
        wanted = f"{count} whole numbers from 1 to {whole}"
        return tuple(value) if fits else self._refuse(name, wanted, (1,) * count)

    def _refuse(self, name: str, wanted: str, instead: Any) -> Any:
        self.wrong.append(f"{self._place}{name} must be {wanted}.")
        return instead

    def _parsed(self, file: Path) -> Any:
        if file.stat().st_size > MANIFEST_BYTES_MAX:
            return None
        try:
            return json.loads(file.read_bytes())
        except ValueError:
            return None


def _revision(folder: Path) -> str:
    """Changes whenever a file is exchanged: re-reading gigabytes at each start would be too slow."""
    seen: Sequence[object] = [
        (folder / "manifest.json").read_bytes(),
        *((folder / name).stat().st_size for name in FILES),
        *((folder / name).stat().st_mtime_ns for name in FILES),
    ]
    return hashlib.sha256(repr(seen).encode()).hexdigest()[:12]
