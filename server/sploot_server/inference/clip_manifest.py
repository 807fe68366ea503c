"""The manifest of a CLIP model: a folder with a user's ONNX export of an image and text encoder.

manifest.json    describes the other files: see `ClipManifest`
visual.onnx      images to vectors
textual.onnx     texts to vectors, in the same space
tokenizer.json   in the format of the library `tokenizers`

{"name": "mobileclip-s0", "dim": 512, "normalise": true, "cosines": [0.1, 0.35],
 "image": {"size": [224, 224], "mean": [0, 0, 0], "std": [1, 1, 1], "input": "pixel_values", "output": "embeds"},
 "text": {"context": 77, "pad": 0, "input": "input_ids", "mask": null, "output": "embeds"}}
"""

from dataclasses import dataclass
from pathlib import Path

from sploot_server.inference.model_manifest import (
    CONTEXT_MAX,
    DIM_MAX,
    MANIFEST,
    ModelUnusable,
    open_manifest,
)

FILES = ("visual.onnx", "textual.onnx", "tokenizer.json")
SIDE_PX_MAX = 4096


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
        fields, revision = open_manifest(folder, FILES)
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
            revision=revision,
        )
        errors = [*fields.errors, *image.errors, *text.errors]
        if not errors and manifest.cosine_range[0] >= manifest.cosine_range[1]:
            errors.append("cosines must be two numbers, the lower one first.")
        if not errors and 0 in manifest.image.std:
            errors.append("image.std must not be 0.")
        if errors:
            raise ModelUnusable(f"{folder / MANIFEST}: {' '.join(errors)}")
        return manifest
