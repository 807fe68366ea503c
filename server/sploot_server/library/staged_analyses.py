"""Analyses made with another model than the one in use, one file each, until that model takes over."""

import base64
import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sploot_server.domain.embedding import EmbeddingModel, ImageAnalysis

MODEL_FILE = "model"


class StagedAnalyses:
    """A folder of analyses by one model, by the checksum of the content. Blocks; thread-safe."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def prepare(self, model: EmbeddingModel) -> None:
        """Keep what an earlier run staged with this model; discard what others did."""
        if self._model_name() != model.name:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder.mkdir(mode=0o700, parents=True)
            (self._folder / MODEL_FILE).write_text(model.name)

    def discard(self, model: EmbeddingModel) -> None:
        """Delete the analyses by this model, once all of them were used."""
        if self._model_name() == model.name:
            shutil.rmtree(self._folder, ignore_errors=True)

    def contains(self, checksum: str) -> bool:
        return self._path(checksum).exists()

    def add(self, checksum: str, analysis: ImageAnalysis) -> None:
        path = self._path(checksum)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        temporary = path.with_suffix(".new")
        temporary.write_text(json.dumps({name: _encode(value) for name, value in asdict(analysis).items()}))
        temporary.replace(path)

    def get(self, checksum: str, model: EmbeddingModel) -> ImageAnalysis | None:
        """Return the analysis of a content by this model, if there is one."""
        if self._model_name() != model.name:
            return None
        try:
            values = json.loads(self._path(checksum).read_text())
        except FileNotFoundError:
            return None
        return ImageAnalysis(**{name: _decode(value) for name, value in values.items()})

    def _model_name(self) -> str | None:
        try:
            return (self._folder / MODEL_FILE).read_text()
        except FileNotFoundError:
            return None

    def _path(self, checksum: str) -> Path:
        return self._folder / checksum[:2] / checksum


def _encode(value: Any) -> Any:
    return {"base64": base64.b64encode(value).decode()} if isinstance(value, bytes) else value


def _decode(value: Any) -> Any:
    return base64.b64decode(value["base64"]) if isinstance(value, dict) else value
