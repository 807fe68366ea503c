"""A folder with a model that a user added: of which kind it is, and whether it works."""

import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from sploot_server.inference import text_manifest
from sploot_server.inference.clip_manifest import ClipManifest
from sploot_server.inference.model_manifest import CHECK_S_MAX, ModelUnusable
from sploot_server.inference.text_manifest import TextManifest

PICTURE_MODEL, TEXT_ENCODER = "picture model", "text encoder"


def model_kind(folder: Path) -> str:
    """Return PICTURE_MODEL or TEXT_ENCODER, by the files in the folder."""
    return kind_of_files(file.name for file in folder.glob("*"))


def kind_of_files(names: Iterable[str]) -> str:
    return TEXT_ENCODER if text_manifest.GRAPH in names else PICTURE_MODEL


def by_kind(models: Iterable[Path]) -> Mapping[str, Path]:
    """Return the folder of each kind; of several, the last."""
    return {model_kind(folder): folder for folder in models}


def check_model(folder: Path) -> None:
    """Run the model in a process of its own, because it may crash. Raises ModelUnusable."""
    if model_kind(folder) == TEXT_ENCODER:
        TextManifest.read(folder)
        module = "onnx_text_encoder"
    else:
        ClipManifest.read(folder)
        module = "clip"
    command = [sys.executable, "-P", "-m", f"sploot_server.inference.{module}", str(folder)]
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=CHECK_S_MAX)  # noqa: S603 - ourselves
    except subprocess.TimeoutExpired as error:
        raise ModelUnusable(f"The model in {folder} took longer than {CHECK_S_MAX:.0f} s for its test.") from error
    if result.returncode != 0:
        output = result.stdout.strip() or f"its check exited with {result.returncode}: {result.stderr.strip()[-300:]}"
        raise ModelUnusable(f"The model in {folder} cannot be used: {output}")
