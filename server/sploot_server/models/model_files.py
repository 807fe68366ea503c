"""Which files of a folder or a repository make up a picture model.

A folder of one's own has the files of `clip_manifest.py`. Exports for the web, and by most converters, have others:

    onnx/vision_model*.onnx  onnx/text_model*.onnx  tokenizer.json  config.json  preprocessor_config.json

Graphs stand there in several precisions; one in 8 bits is chosen, because it takes a quarter of the memory and half of
the time. `*.onnx_data` are the weights of a graph that has them in a file of its own.
"""

from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

from sploot_server.inference.clip_manifest import FILES, ModelUnusable

MANIFEST = "manifest.json"
PRECISIONS = ("_quantized", "_int8", "_uint8", "", "_fp16")  # the best first
GRAPHS = {"visual.onnx": "vision_model", "textual.onnx": "text_model"}
CONFIGS = ("config.json", "preprocessor_config.json")
OPTIONAL_CONFIGS = ("tokenizer_config.json",)
LICENCES = ("LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE", "LICENCE.txt")


def choose_files(names: Iterable[str]) -> Mapping[str, str]:
    """Return the names of the files of a model by the names that they get here. Raises ModelUnusable."""
    present = set(names)
    base = _common_folder(present)
    own = {name: f"{base}{name}" for name in (*FILES, MANIFEST)}
    chosen = own if present.issuperset(own.values()) else _choose_export(present, base)
    graphs = [name for name in chosen.values() if name.endswith(".onnx")]
    weights = {PurePosixPath(each).name: each for graph in graphs for each in (f"{graph}_data", f"{graph}.data")}
    licences = {name: f"{base}{name}" for name in (*LICENCES, *OPTIONAL_CONFIGS)}
    return {**chosen, **{name: each for name, each in {**weights, **licences}.items() if each in present}}


def _choose_export(present: set[str], base: str) -> dict[str, str]:
    found = {name: f"{base}{name}" for name in ("tokenizer.json", *CONFIGS)}
    for target, stem in GRAPHS.items():
        variants = [f"{base}{folder}{stem}{each}.onnx" for each in PRECISIONS for folder in ("onnx/", "")]
        found[target] = next((each for each in variants if each in present), f"{base}onnx/{stem}.onnx")
    if missing := [each.removeprefix(base) for each in found.values() if each not in present]:
        own = [name for name in (MANIFEST, *FILES) if f"{base}{name}" not in present]
        raise ModelUnusable(
            f"This is not a picture model in ONNX: it has no {', no '.join(sorted(missing))}; "
            f"and of a folder of one's own, no {', no '.join(own)}."
        )
    return found


def _common_folder(names: set[str]) -> str:
    """Return the folder with a slash that holds all files, as archives tend to have one; else ''."""
    firsts = {name.partition("/")[0] if "/" in name else "" for name in names}
    first = next(iter(firsts)) if len(firsts) == 1 else ""
    return f"{first}/" if first and first != "onnx" else ""
