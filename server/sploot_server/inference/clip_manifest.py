"""The manifest of a CLIP model: a folder with a user's ONNX export of an image and text encoder.

manifest.json    describes the other files: see `ClipManifest`
visual.onnx      images to vectors
textual.onnx     texts to vectors, in the same space
tokenizer.json   in the format of the library `tokenizers`

{"name": "mobileclip-s0", "dim": 512, "normalise": true, "cosines": [0.1, 0.35],
 "image": {"size": [224, 224], "mean": [0, 0, 0], "std": [1, 1, 1], "input": "pixel_values", "output": "embeds"},
 "text": {"context": 77, "pad": 0, "input": "input_ids", "mask": null, "output": "embeds"}}
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
    """The model in the folder is unusable; the message has a sentence for each error."""


@dataclass(frozen=True, slots=True)
class ImageInput:
    """The input of visual.onnx: `size` is (width, height) in pixels; `mean` and `std` are per channel, from 0 to 1."""

    size: tuple[int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    input: str
    output: str


@dataclass(frozen=True, slots=True)
class TextInput:
    """The input of textual.onnx: `context` tokens, padded with `pad`; `mask` is the attention mask, if it has one."""

    context: int
    pad: int
    input: str
    mask: str | None
    output: str


@dataclass(frozen=True, slots=True)
class ClipManifest:
    """A validated manifest.

    `cosine_range` holds the cosines of unrelated and of perfectly matching images and texts in this model. If
    `normalise` is true, the model's vectors have to be scaled to length 1. `revision` changes with the files.
    """

    name: str
    dim: int
    normalise: bool
    cosine_range: tuple[float, float]
    image: ImageInput
    text: TextInput
    revision: str

    @classmethod
    def read(cls, folder: Path) -> "ClipManifest":
        """Read and validate a manifest. Raises ModelUnusable. `check_model` also runs the graphs."""
        missing = [name for name in ("manifest.json", *FILES) if not (folder / name).is_file()]
        if missing:
            raise ModelUnusable(f"{folder} has no {', no '.join(missing)}.")
        fields = _ManifestFields(folder / "manifest.json")
        image, text = fields.section("image"), fields.section("text")
        manifest = cls(
            name=fields.text("name"),
            dim=fields.integer("dim", 1, DIM_MAX),
            normalise=fields.boolean("normalise"),
            cosine_range=fields.numbers("cosines", 2),
            image=ImageInput(
                size=image.numbers("size", 2, integer_max=SIDE_PX_MAX),
                mean=image.numbers("mean", 3),
                std=image.numbers("std", 3),
                input=image.text("input"),
                output=image.text("output"),
            ),
            text=TextInput(
                context=text.integer("context", 1, CONTEXT_MAX),
                pad=text.integer("pad", 0, 2**31),
                input=text.text("input"),
                mask=None if text.is_null("mask") else text.text("mask"),
                output=text.text("output"),
            ),
            revision=_compute_revision(folder),
        )
        errors = [*fields.errors, *image.errors, *text.errors]
        if not errors and manifest.cosine_range[0] >= manifest.cosine_range[1]:
            errors.append("cosines must be two numbers, the lower one first.")
        if not errors and 0 in manifest.image.std:
            errors.append("image.std must not be 0.")
        if errors:
            raise ModelUnusable(f"{folder / 'manifest.json'}: {' '.join(errors)}")
        return manifest


def check_model(folder: Path) -> ClipManifest:
    """Run the model in a process of its own, because it may crash. Raises ModelUnusable."""
    manifest = ClipManifest.read(folder)
    command = [sys.executable, "-P", "-m", "sploot_server.inference.clip", str(folder)]
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=CHECK_S_MAX)  # noqa: S603 - ourselves
    except subprocess.TimeoutExpired as error:
        raise ModelUnusable(f"The model in {folder} took longer than {CHECK_S_MAX:.0f} s for one image.") from error
    if result.returncode != 0:
        output = result.stdout.strip() or f"its check exited with {result.returncode}: {result.stderr.strip()[-300:]}"
        raise ModelUnusable(f"The model in {folder} cannot be used: {output}")
    return manifest


class _ManifestFields:
    """Reads the fields of one object of a manifest and collects their `errors`."""

    def __init__(self, source: Path | Any, prefix: str = "") -> None:
        self.errors: list[str] = []
        self._prefix = prefix
        self._values = self._parse(source) if isinstance(source, Path) else source
        if not isinstance(self._values, dict):
            self.errors.append(f"{prefix.rstrip('.') or 'The manifest'} must be an object.")
            self._values = {}

    def section(self, name: str) -> "_ManifestFields":
        return _ManifestFields(self._values.get(name), f"{self._prefix}{name}.")

    def is_null(self, name: str) -> bool:
        return self._values.get(name) is None

    def text(self, name: str) -> str:
        value = self._values.get(name)
        return value if isinstance(value, str) and value else self._report_error(name, "a name", "")

    def boolean(self, name: str) -> bool:
        value = self._values.get(name)
        return value if isinstance(value, bool) else self._report_error(name, "true or false", False)

    def integer(self, name: str, minimum: int, maximum: int) -> int:
        value = self._values.get(name)
        fits = type(value) is int and minimum <= value <= maximum
        return (
            int(value)
            if fits
            else int(self._report_error(name, f"a whole number from {minimum} to {maximum}", minimum))
        )

    def numbers(self, name: str, count: int, *, integer_max: int | None = None) -> Any:
        """Return a tuple of `count` numbers; if `integer_max` is given, of integers from 1 to it."""
        value = self._values.get(name)
        fits = isinstance(value, list) and len(value) == count
        if integer_max is None:
            fits = fits and all(type(each) in (int, float) for each in value)
            return tuple(map(float, value)) if fits else self._report_error(name, f"{count} numbers", (1.0,) * count)
        fits = fits and all(type(each) is int and 1 <= each <= integer_max for each in value)
        expected = f"{count} whole numbers from 1 to {integer_max}"
        return tuple(value) if fits else self._report_error(name, expected, (1,) * count)

    def _report_error(self, name: str, expected: str, default: Any) -> Any:
        self.errors.append(f"{self._prefix}{name} must be {expected}.")
        return default

    def _parse(self, file: Path) -> Any:
        if file.stat().st_size > MANIFEST_BYTES_MAX:
            return None
        try:
            return json.loads(file.read_bytes())
        except ValueError:
            return None


def _compute_revision(folder: Path) -> str:
    """Return a fingerprint that changes with the files."""
    # Size and modification time stand for the contents: hashing gigabytes at each start would be too slow.
    fingerprint: Sequence[object] = [
        (folder / "manifest.json").read_bytes(),
        *((folder / name).stat().st_size for name in FILES),
        *((folder / name).stat().st_mtime_ns for name in FILES),
    ]
    return hashlib.sha256(repr(fingerprint).encode()).hexdigest()[:12]
