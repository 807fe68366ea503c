"""Which files of a folder or a repository make up a model.

A folder of one's own has the files of `clip_manifest.py` or `text_manifest.py`. Exports for the web, and by most
converters, have others:

    onnx/vision_model*.onnx  onnx/text_model*.onnx  tokenizer.json  config.json  preprocessor_config.json
    onnx/model*.onnx  tokenizer.json  config.json  1_Pooling/config.json  modules.json     (sentence-transformers)

Graphs stand there in several precisions; one in 8 bits is chosen, because it takes a quarter of the memory and half of
the time. `*.onnx_data` are the weights of a graph that has them in a file of its own.
"""

import fnmatch
import platform
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

from sploot_server.inference import clip_manifest, text_manifest
from sploot_server.inference.model_folder import PICTURE_MODEL, TEXT_ENCODER
from sploot_server.inference.model_manifest import MANIFEST, ModelUnusable

IS_ARM = platform.machine() in ("aarch64", "arm64")
PRECISIONS = (  # the best first
    *(("_qint8_arm64*",) if IS_ARM else ()),
    *("_quint8*", "_quantized", "_int8", "_uint8", "_qint8*", "", "_fp16"),
)
POOLING = "pooling.json"
LICENCES = ("LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE", "LICENCE.txt")
OPTIONAL = {
    **{name: name for name in ("tokenizer_config.json", "modules.json", "sentence_bert_config.json", *LICENCES)},
    POOLING: "1_Pooling/config.json",
}


def choose_files(names: Iterable[str]) -> Mapping[str, str]:
    """Return the names of the files of a model by the names that they get here. Raises ModelUnusable."""
    sources = set(names)
    base = _common_folder(sources)
    present = {name.removeprefix(base) for name in sources}
    layouts = [(kind, layout, set(layout.values()) - present) for kind, layout in _layouts(present)]
    kind, chosen, missing = min(layouts, key=lambda each: len(each[2]))
    if missing:
        raise ModelUnusable(f"This is not a {kind} in ONNX: it has no {', no '.join(sorted(missing))}.")
    graphs = [name for name in chosen.values() if name.endswith(".onnx")]
    weights = {PurePosixPath(each).name: each for graph in graphs for each in (f"{graph}_data", f"{graph}.data")}
    optional = {name: each for name, each in {**weights, **OPTIONAL}.items() if each in present}
    return {name: f"{base}{each}" for name, each in {**chosen, **optional}.items()}


def _layouts(present: set[str]) -> Iterable[tuple[str, Mapping[str, str]]]:
    """Return the files that a model of each kind and layout needs, by the names that they get here."""
    for kind, files in ((PICTURE_MODEL, clip_manifest.FILES), (TEXT_ENCODER, text_manifest.FILES)):
        yield kind, {name: name for name in (*files, MANIFEST)}
    for kind, graphs, configs in (
        (PICTURE_MODEL, {"visual.onnx": "vision_model", "textual.onnx": "text_model"}, ("preprocessor_config.json",)),
        (TEXT_ENCODER, {text_manifest.GRAPH: "model"}, ()),
    ):
        texts = {name: name for name in ("tokenizer.json", "config.json", *configs)}
        yield kind, {**{target: _find_graph(present, stem) for target, stem in graphs.items()}, **texts}


def _find_graph(present: set[str], stem: str) -> str:
    """Return the graph in the best precision, in the folder `onnx` or not; its name if it were there, else."""
    patterns = (f"{folder}{stem}{precision}.onnx" for precision in PRECISIONS for folder in ("onnx/", ""))
    found = (min(matches) for pattern in patterns if (matches := fnmatch.filter(present, pattern)))
    return next(found, f"onnx/{stem}.onnx")


def _common_folder(names: set[str]) -> str:
    """Return the folder with a slash that holds all files, as archives tend to have one; else ''."""
    firsts = {name.partition("/")[0] if "/" in name else "" for name in names}
    first = next(iter(firsts)) if len(firsts) == 1 else ""
    return f"{first}/" if first and first != "onnx" else ""
