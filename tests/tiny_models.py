"""Tiny real models, in ONNX: picture models that distinguish red, green and blue, and text encoders."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="the package `onnx` creates the graphs of these tests")
tokenizers = pytest.importorskip("tokenizers", reason="the extra `clip` installs `tokenizers`")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402 - only if it is installed

COLOURS = {"red": (220, 20, 30), "green": (20, 200, 40), "blue": (10, 30, 230)}
WORDS = ["[pad]", "[unk]", "a", "picture", *COLOURS]
MANIFEST: dict[str, Any] = {
    "name": "colours",
    "dim": 3,
    "normalise": True,
    "cosines": [0.6, 1.0],
    "image": {"size": [16, 16], "mean": [0, 0, 0], "std": [1, 1, 1], "input": "pixels", "output": "colour"},
    "text": {"context": 8, "pad": 0, "input": "ids", "mask": None, "output": "colour"},
}


def save_graph(path: Path, nodes: list[Any], graph_input: Any, constants: dict[str, np.ndarray], output: Any) -> None:
    """Save a graph with one output: a name, for that of a vector of three numbers, or a description."""
    if isinstance(output, str):
        output = helper.make_tensor_value_info(output, TensorProto.FLOAT, [1, 3])
    initializers = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "g", [graph_input], [output], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)


def save_visual(path: Path, name: str = "pixels", output: str = "colour") -> None:
    """Save a graph that maps images to their mean colour."""
    pixels = helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, 16, 16])
    mean = helper.make_node("ReduceMean", [name], [output], axes=[2, 3], keepdims=0)
    save_graph(path, [mean], pixels, {}, output)


def save_textual(path: Path, name: str = "ids", output: str = "colour") -> None:
    """Save a graph that maps texts to the mean of the colours they name."""
    colours = np.full((len(WORDS), 3), 0.01, np.float32)
    colours[-len(COLOURS) :] = np.array(list(COLOURS.values()), np.float32) / 255
    ids = helper.make_tensor_value_info(name, TensorProto.INT64, [1, 8])
    lookup = helper.make_node("Gather", ["colours", name], ["each"])
    mean = helper.make_node("ReduceMean", ["each"], [output], axes=[1], keepdims=0)
    save_graph(path, [lookup, mean], ids, {"colours": colours}, output)


def save_tokenizer(path: Path, words: Sequence[str] = WORDS) -> None:
    vocabulary = {word: number for number, word in enumerate(words)}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="[unk]"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.save(str(path))


def save_model(folder: Path) -> Path:
    """Save a model with the files that the server documents."""
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(json.dumps(MANIFEST))
    save_visual(folder / "visual.onnx")
    save_textual(folder / "textual.onnx")
    save_tokenizer(folder / "tokenizer.json")
    return folder


def save_export(folder: Path) -> Path:
    """Save a model as converters lay it out: no manifest, names of their own, graphs in several precisions."""
    save_visual(folder / "onnx" / "vision_model_quantized.onnx", "pixel_values", "image_embeds")
    save_textual(folder / "onnx" / "text_model_quantized.onnx", "input_ids", "text_embeds")
    (folder / "onnx" / "vision_model.onnx").write_bytes(b"not chosen")
    (folder / "onnx" / "text_model.onnx").write_bytes(b"not chosen")
    save_tokenizer(folder / "tokenizer.json")
    (folder / "config.json").write_text(json.dumps({"model_type": "clip", "projection_dim": 3}))
    preprocessor = {"crop_size": {"width": 16, "height": 16}, "image_mean": [0, 0, 0], "image_std": [1, 1, 1]}
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    return folder


def save_text_encoder(folder: Path, meanings: Sequence[str]) -> Path:
    """Save a text encoder in the layout of sentence-transformers; the words of one meaning have the same vector.

    All other words share another vector.
    """
    words = ["[unk]", *(word for each in meanings for word in each.split())]
    numbers = [0, *(1 + number for number, each in enumerate(meanings) for _ in each.split())]
    vectors = np.eye(len(meanings) + 1, dtype=np.float32)[numbers]
    ids = helper.make_tensor_value_info("input_ids", TensorProto.INT64, [1, "length"])
    lookup = helper.make_node("Gather", ["vectors", "input_ids"], ["last_hidden_state"])
    shape = [1, "length", vectors.shape[1]]
    hidden = helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, shape)
    save_graph(folder / "onnx" / "model_quint8_avx2.onnx", [lookup], ids, {"vectors": vectors}, hidden)
    (folder / "onnx" / "model_fp16.onnx").write_bytes(b"not chosen")
    save_tokenizer(folder / "tokenizer.json", words)
    modules = ["Transformer", "Pooling", "Normalize"]
    for name, value in {
        "config.json": {"model_type": "mpnet", "hidden_size": vectors.shape[1], "max_position_embeddings": 514},
        "modules.json": [{"type": f"sentence_transformers.models.{each}"} for each in modules],
        "1_Pooling/config.json": {"word_embedding_dimension": 3, "pooling_mode_mean_tokens": True},
        "sentence_bert_config.json": {"max_seq_length": 16},
    }.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(value))
    return folder
