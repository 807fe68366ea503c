"""Writes the manifest of a picture model that was exported without one, from its configuration and its graphs."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sploot_server.inference.clip_manifest import ModelUnusable
from sploot_server.inference.graph_signature import Signature, read_signatures

OUTPUTS = ("image_embeds", "text_embeds", "pooler_output", "sentence_embedding")  # the projected vector first
# Typical cosines of unrelated and of matching pairs. SigLIP trains each pair by itself, which leaves them lower.
COSINES = {"clip": (0.15, 0.35), "siglip": (0.0, 0.15)}
CONTEXTS = {"clip": 77, "siglip": 64}
JSON_BYTES_MAX = 64 * 1024 * 1024  # a tokenizer with a large vocabulary


def write_manifest(folder: Path, name: str) -> None:
    """Write `manifest.json` for the files of `model_files.py` in `folder`. Raises ModelUnusable."""
    config, preprocessor = (_read_json(folder / each) for each in ("config.json", "preprocessor_config.json"))
    family = "siglip" if "siglip" in str(config.get("model_type")) else "clip"
    visual, textual = read_signatures([folder / "visual.onnx", folder / "textual.onnx"])
    image_output, text_output = _choose_output(visual, "visual.onnx"), _choose_output(textual, "textual.onnx")
    normalises = bool(preprocessor.get("do_normalize", True))
    manifest = {
        "name": name,
        "dim": _dimension(visual["outputs"][image_output], config),
        "normalise": True,  # harmless where the graph does it
        "cosines": COSINES[family],
        "image": {
            "size": _image_size(preprocessor, config),
            "mean": preprocessor.get("image_mean", [0.5] * 3) if normalises else [0, 0, 0],
            "std": preprocessor.get("image_std", [0.5] * 3) if normalises else [1, 1, 1],
            "input": _choose_input(visual, ("pixel_values",), "visual.onnx"),
            "output": image_output,
        },
        "text": {
            "context": _context(textual, config) or CONTEXTS[family],
            "pad": _padding(folder),
            "input": _choose_input(textual, ("input_ids",), "textual.onnx"),
            "mask": "attention_mask" if "attention_mask" in textual["inputs"] else None,
            "output": text_output,
        },
    }
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1))


def _choose_input(signature: Signature, known: Sequence[str], graph: str) -> str:
    inputs = signature["inputs"]
    name = next((each for each in known if each in inputs), next(iter(inputs), None))
    if name is None:
        raise ModelUnusable(f"{graph} has no input.")
    return name


def _choose_output(signature: Signature, graph: str) -> str:
    outputs = signature["outputs"]
    flat = [name for name, shape in outputs.items() if len(shape) == 2]
    name = next((each for each in (*OUTPUTS, *flat) if each in outputs), None)
    if name is None:
        raise ModelUnusable(f"{graph} has no output with one vector; it has {', '.join(outputs)}.")
    return name


def _dimension(shape: Sequence[Any], config: Mapping[str, Any]) -> int:
    vision = config.get("vision_config") or {}
    candidates = (shape[-1], config.get("projection_dim"), vision.get("hidden_size"), 512)
    return next(each for each in candidates if type(each) is int)


def _image_size(preprocessor: Mapping[str, Any], config: Mapping[str, Any]) -> list[int]:
    vision = config.get("vision_config") or {}
    for size in (preprocessor.get("crop_size"), preprocessor.get("size"), vision.get("image_size")):
        if type(size) is int:
            return [size, size]
        if isinstance(size, dict) and {"width", "height"} <= size.keys():
            return [size["width"], size["height"]]
        if isinstance(size, dict) and "shortest_edge" in size:
            return [size["shortest_edge"]] * 2
    return [224, 224]


def _context(textual: Signature, config: Mapping[str, Any]) -> int | None:
    """Return the number of tokens that the text graph takes, where it or the configuration fixes it."""
    text = config.get("text_config") or {}
    shape = next(iter(textual["inputs"].values()))
    return next((each for each in (shape[-1], text.get("max_position_embeddings")) if type(each) is int), None)


def _padding(folder: Path) -> int:
    """Return the number of the padding token: SigLIP's vector depends on it, CLIP's does not."""
    tokenizer = _read_json(folder / "tokenizer.json")
    padding = tokenizer.get("padding")
    if isinstance(padding, dict) and type(padding.get("pad_id")) is int:
        return int(padding["pad_id"])
    settings = folder / "tokenizer_config.json"
    token = _read_json(settings).get("pad_token") if settings.exists() else None
    content = token.get("content") if isinstance(token, dict) else token
    added = {each.get("content"): each.get("id") for each in tokenizer.get("added_tokens") or ()}
    number = added.get(content)
    return number if type(number) is int else 0


def _read_json(file: Path) -> Mapping[str, Any]:
    try:
        value = json.loads(file.read_bytes()) if file.stat().st_size <= JSON_BYTES_MAX else None
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise ModelUnusable(f"{file.name} is not a JSON object.")
    return value
