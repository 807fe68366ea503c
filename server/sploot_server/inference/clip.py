"""CLIP encoders: image and text vectors in one space, by a model that the user supplies (`clip_manifest.py`).

Runs in worker processes only. `python -m sploot_server.inference.clip DIR` checks a model and reports its errors.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from sploot_server.inference.clip_manifest import ClipManifest
from sploot_server.inference.model_manifest import ModelUnusable
from sploot_server.inference.onnx_model import (
    input_dtype,
    load_tokenizer,
    open_session,
    report_errors,
    scale_to_length_1,
)

Floats = npt.NDArray[np.float32]


class ClipImageEncoder:
    """Embeds images. Thread-safe."""

    def __init__(self, folder: Path) -> None:
        """Load the graph. Raises ModelUnusable if it does not match the manifest."""
        self._manifest = ClipManifest.read(folder)
        image = self._manifest.image
        self._session = open_session(folder / "visual.onnx", [image.input], image.output)

    def embed(self, image: Image.Image) -> bytes:
        """Return the vector of an upright image: little-endian float32, of length 1."""
        expected = self._manifest.image
        fitted = np.asarray(_resize_and_crop(image.convert("RGB"), expected.size), np.float32) / 255.0
        pixels = (fitted - np.asarray(expected.mean, np.float32)) / np.asarray(expected.std, np.float32)
        batch = pixels.transpose(2, 0, 1)[np.newaxis].astype(input_dtype(self._session, expected.input))
        return _to_vector(self._session.run([expected.output], {expected.input: batch}), self._manifest, "visual.onnx")


class ClipTextEncoder:
    """Embeds queries. Thread-safe."""

    def __init__(self, folder: Path) -> None:
        """Load the graph and the tokenizer. Raises ModelUnusable if either is unusable."""
        self._manifest = ClipManifest.read(folder)
        text = self._manifest.text
        inputs = [text.input] if text.mask is None else [text.input, text.mask]
        self._session = open_session(folder / "textual.onnx", inputs, text.output)
        self._tokenizer = load_tokenizer(folder, text.context)

    def embed(self, query: str) -> bytes:
        """Return the vector of a query: little-endian float32, of length 1."""
        text = self._manifest.text
        ids = self._tokenizer.encode(query).ids
        token_ids = np.full((1, text.context), text.pad, input_dtype(self._session, text.input))
        token_ids[0, : len(ids)] = ids
        inputs = {text.input: token_ids}
        if text.mask is not None:
            attention_mask = np.arange(text.context)[np.newaxis] < len(ids)
            inputs[text.mask] = attention_mask.astype(input_dtype(self._session, text.mask))
        return _to_vector(self._session.run([text.output], inputs), self._manifest, "textual.onnx")


def _resize_and_crop(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Return the centre of the image in the size that the model expects."""
    width, height = size
    scale = max(width / image.width, height / image.height)
    scaled = image.resize(
        (max(width, round(image.width * scale)), max(height, round(image.height * scale))),
        Image.Resampling.BICUBIC,
        reducing_gap=2.0,
    )
    left, top = (scaled.width - width) // 2, (scaled.height - height) // 2
    return scaled.crop((left, top, left + width, top + height))


def _to_vector(outputs: list[Any], manifest: ClipManifest, graph: str) -> bytes:
    vector = np.asarray(outputs[0], np.float32).reshape(-1)
    if len(vector) != manifest.dim:
        raise ModelUnusable(f"{graph} returns {len(vector)} numbers, but the manifest declares {manifest.dim}.")
    scaled = scale_to_length_1(vector, graph)
    length = float(np.linalg.norm(vector))
    if not manifest.normalise and abs(length - 1.0) > 0.01:
        raise ModelUnusable(f"{graph} returns vectors of length {length:.2f}; set normalise to true.")
    return (scaled if manifest.normalise else vector).astype("<f4").tobytes()


def main() -> None:
    """Check the model with a plain image and a short text; exit 1 with a sentence for each error."""
    folder = Path(sys.argv[1])
    report_errors(
        [
            lambda: ClipImageEncoder(folder).embed(Image.new("RGB", (64, 64), (128, 100, 90))),
            lambda: ClipTextEncoder(folder).embed("a picture"),
        ]
    )


if __name__ == "__main__":
    main()
