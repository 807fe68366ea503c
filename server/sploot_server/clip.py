"""Vectors of pictures and of what is said of them, by a model that the user has supplied: see `manifest.py`.

Runs in workers only. `python -m sploot_server.clip DIR` tries a model and says what is wrong with it.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from sploot_server.manifest import Manifest, ModelUnusable

Floats = npt.NDArray[np.float32]

TINY = 1e-6


class Visual:
    """Pictures to vectors. Any number of threads may share one."""

    def __init__(self, folder: Path) -> None:
        """Raise ModelUnusable if the graph is not what the manifest says."""
        self._manifest = Manifest.read(folder)
        image = self._manifest.image
        self._session = _opened(folder / "visual.onnx", [image.input], image.output)

    def embed(self, picture: Image.Image) -> bytes:
        """The vector of an upright picture: little-endian float32, of length 1."""
        image = self._manifest.image
        fitted = np.asarray(_cropped(picture.convert("RGB"), image.size), np.float32) / 255.0
        pixels = (fitted - np.asarray(image.mean, np.float32)) / np.asarray(image.std, np.float32)
        inputs = {image.input: pixels.transpose(2, 0, 1)[np.newaxis].astype(_number_of(self._session, image.input))}
        return _vector(self._session.run([image.output], inputs), self._manifest, "visual.onnx")


class Textual:
    """Queries to vectors. Any number of threads may share one."""

    def __init__(self, folder: Path) -> None:
        """Raise ModelUnusable if the graph or the tokenizer cannot be used."""
        try:
            from tokenizers import Tokenizer  # noqa: PLC0415 - the extra `clip`
        except ImportError as error:
            raise ModelUnusable("Its tokenizer needs a package; `pip install 'sploot[clip]'` brings it.") from error
        self._manifest = Manifest.read(folder)
        text = self._manifest.text
        inputs = [text.input] if text.mask is None else [text.input, text.mask]
        self._session = _opened(folder / "textual.onnx", inputs, text.output)
        try:
            self._tokenizer: Any = Tokenizer.from_file(str(folder / "tokenizer.json"))
        except Exception as error:  # it raises nothing narrower
            raise ModelUnusable(f"tokenizer.json cannot be read: {error}.") from error
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(text.context)

    def embed(self, query: str) -> bytes:
        text = self._manifest.text
        ids = self._tokenizer.encode(query).ids
        filled = np.full((1, text.context), text.pad, _number_of(self._session, text.input))
        filled[0, : len(ids)] = ids
        inputs = {text.input: filled}
        if text.mask is not None:
            taken = np.arange(text.context)[np.newaxis] < len(ids)
            inputs[text.mask] = taken.astype(_number_of(self._session, text.mask))
        return _vector(self._session.run([text.output], inputs), self._manifest, "textual.onnx")


def _opened(graph: Path, inputs: list[str], output: str) -> Any:
    from onnxruntime import InferenceSession  # noqa: PLC0415 - only where there is a model

    from sploot_server.graphs import settings  # noqa: PLC0415 - as above

    try:
        session = InferenceSession(str(graph), settings(), providers=["CPUExecutionProvider"])
    except Exception as error:  # it raises nothing narrower
        raise ModelUnusable(f"{graph.name} cannot be opened: {error}.") from error
    for kind, wanted, there in (("input", inputs, session.get_inputs()), ("output", [output], session.get_outputs())):
        names = [each.name for each in there]
        if lost := [name for name in wanted if name not in names]:
            raise ModelUnusable(f"{graph.name} has no {kind} {', '.join(lost)}; it has {', '.join(names)}.")
    return session


def _number_of(session: Any, name: str) -> npt.DTypeLike:
    """What kind of number an input takes: exports differ."""
    kinds = {"tensor(float16)": "f2", "tensor(float)": "f4", "tensor(int32)": "i4"}
    return kinds.get(next(each.type for each in session.get_inputs() if each.name == name), "i8")


def _cropped(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The middle of the picture in the size that the model takes."""
    width, height = size
    scale = max(width / picture.width, height / picture.height)
    scaled = picture.resize(
        (max(width, round(picture.width * scale)), max(height, round(picture.height * scale))),
        Image.Resampling.BICUBIC,
        reducing_gap=2.0,
    )
    left, top = (scaled.width - width) // 2, (scaled.height - height) // 2
    return scaled.crop((left, top, left + width, top + height))


def _vector(outputs: list[Any], manifest: Manifest, graph: str) -> bytes:
    vector = np.asarray(outputs[0], np.float32).reshape(-1)
    if len(vector) != manifest.dim:
        raise ModelUnusable(f"{graph} gives {len(vector)} numbers; the manifest says {manifest.dim}.")
    if not np.isfinite(vector).all():
        raise ModelUnusable(f"{graph} gives numbers that are none.")
    length = float(np.linalg.norm(vector))
    if manifest.normalise:
        vector = vector / max(length, TINY)
    elif abs(length - 1.0) > 0.01:
        raise ModelUnusable(f"{graph} gives vectors of length {length:.2f}; set normalise to true.")
    return vector.astype("<f4").tobytes()


def main() -> None:
    """Try the model on a grey picture and a word; exit 1 with a sentence for each thing that is wrong."""
    folder, wrong = Path(sys.argv[1]), []
    attempts: tuple[Callable[[], bytes], ...] = (
        lambda: Visual(folder).embed(Image.new("RGB", (64, 64), (128, 100, 90))),
        lambda: Textual(folder).embed("a picture"),
    )
    for attempt in attempts:
        try:
            attempt()
        except ModelUnusable as error:
            wrong.append(str(error))
        except Exception as error:  # noqa: BLE001 - whatever the runtime says of a graph, it is said here
            wrong.append(f"It does not run: {error}.")
    if wrong:
        sys.stdout.write(" ".join(wrong))
        sys.exit(1)


if __name__ == "__main__":
    main()
