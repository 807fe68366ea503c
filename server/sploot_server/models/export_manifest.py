"""Writes the manifest of a model that was exported without one, from its configuration and its graphs."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sploot_server.inference import text_manifest
from sploot_server.inference.graph_signature import Signature, read_signatures
from sploot_server.inference.model_folder import TEXT_ENCODER, model_kind
from sploot_server.inference.model_manifest import MANIFEST, ModelUnusable
from sploot_server.models.model_files import POOLING

OUTPUTS = ("image_embeds", "text_embeds", "pooler_output", "sentence_embedding")  # the projected vector first
# Typical cosines of unrelated and of matching pairs. SigLIP trains each pair by itself, which leaves them lower.
COSINES = {"clip": (0.15, 0.35), "siglip": (0.0, 0.15)}
CONTEXTS = {"clip": 77, "siglip": 64}
TEXT_OUTPUTS = ("sentence_embedding", "last_hidden_state", "token_embeddings")
TEXT_CONTEXT_MAX = 512
SPARE_POSITIONS = 2  # that RoBERTa and MPNet cannot use
MODULES = ("Transformer", "Pooling", "Normalize")  # of sentence-transformers
POOLINGS = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}
JSON_BYTES_MAX = 64 * 1024 * 1024  # a tokenizer with a large vocabulary


def write_manifest(folder: Path, name: str) -> None:
    """Write `manifest.json` for the files of `model_files.py` in `folder`. Raises ModelUnusable."""
    describe = _describe_text_encoder if model_kind(folder) == TEXT_ENCODER else _describe_picture_model
    (folder / MANIFEST).write_text(json.dumps({"name": name, **describe(folder)}, indent=1))


def _describe_text_encoder(folder: Path) -> Mapping[str, Any]:
    config = _read_json(folder / "config.json")
    (signature,) = read_signatures([folder / text_manifest.GRAPH])
    flat = [name for name, shape in signature["outputs"].items() if len(shape) == 2]
    output = next((each for each in (*TEXT_OUTPUTS, *flat) if each in signature["outputs"]), None)
    if output is None:
        raise ModelUnusable(f"{text_manifest.GRAPH} has no output of a text; it has {', '.join(signature['outputs'])}.")
    shape = signature["outputs"][output]
    dim = next((each for each in (shape[-1], config.get("hidden_size")) if type(each) is int), None)
    if dim is None:
        raise ModelUnusable("config.json has no hidden_size.")
    return {
        "dim": dim,
        "context": _text_context(folder, config),
        "output": output,
        "pooling": "none" if len(shape) == 2 else _pooling(folder),
    }


def _text_context(folder: Path, config: Mapping[str, Any]) -> int:
    """Return the number of tokens that the encoder was made for."""
    positions = config.get("max_position_embeddings")
    limits = [
        _read_optional(folder / "sentence_bert_config.json").get("max_seq_length"),
        _read_optional(folder / "tokenizer_config.json").get("model_max_length"),
        positions - SPARE_POSITIONS if type(positions) is int else None,
    ]
    return min([limit for limit in limits if type(limit) is int and limit > 0] + [TEXT_CONTEXT_MAX])


def _pooling(folder: Path) -> str:
    """Return how the vectors of the tokens become one. Raises ModelUnusable for what cannot be computed here."""
    types = [str(each.get("type")).rpartition(".")[2] for each in _read_modules(folder)]
    if unknown := [each for each in types if each not in MODULES]:
        raise ModelUnusable(f"Its vectors need a module that is not supported: {', '.join(unknown)}.")
    settings = _read_optional(folder / POOLING)
    modes = [key for key, value in settings.items() if key.startswith("pooling_mode_") and value is True]
    if not modes:
        return "mean"  # the converters that leave the file out expect it
    if len(modes) > 1 or modes[0] not in POOLINGS:
        raise ModelUnusable(f"Its pooling is not supported: {', '.join(modes)}.")
    return POOLINGS[modes[0]]


def _read_modules(folder: Path) -> Sequence[Mapping[str, Any]]:
    file = folder / "modules.json"
    if not file.exists():
        return []
    modules = _load_json(file)
    if modules is None:
        raise ModelUnusable(f"{file.name} is not JSON.")
    return [each for each in modules if isinstance(each, dict)] if isinstance(modules, list) else []


def _describe_picture_model(folder: Path) -> Mapping[str, Any]:
    config, preprocessor = (_read_json(folder / each) for each in ("config.json", "preprocessor_config.json"))
    family = "siglip" if "siglip" in str(config.get("model_type")) else "clip"
    visual, textual = read_signatures([folder / "visual.onnx", folder / "textual.onnx"])
    image_output, text_output = _choose_output(visual, "visual.onnx"), _choose_output(textual, "textual.onnx")
    normalises = bool(preprocessor.get("do_normalize", True))
    return {
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
    token = _read_optional(folder / "tokenizer_config.json").get("pad_token")
    content = token.get("content") if isinstance(token, dict) else token
    added = {each.get("content"): each.get("id") for each in tokenizer.get("added_tokens") or ()}
    number = added.get(content)
    return number if type(number) is int else 0


def _read_optional(file: Path) -> Mapping[str, Any]:
    return _read_json(file) if file.exists() else {}


def _read_json(file: Path) -> Mapping[str, Any]:
    value = _load_json(file)
    if not isinstance(value, dict):
        raise ModelUnusable(f"{file.name} is not a JSON object.")
    return value


def _load_json(file: Path) -> Any:
    """Return what a file contains; None if it is not JSON, or larger than JSON_BYTES_MAX."""
    try:
        return json.loads(file.read_bytes()) if file.stat().st_size <= JSON_BYTES_MAX else None
    except ValueError:
        return None
