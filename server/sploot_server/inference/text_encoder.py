"""Text embeddings by the installed models. Runs in worker processes only, so that the server stays small.

The two small models complement each other; one that a user added takes MiniLM's place. A vector is the concatenation of
theirs, scaled so that the inner product of a query and a passage is the weighted mean of the cosines by the models that
know the languages of both. The vector has length 1, unless only one of the two models knows the text: then that model
counts for both.

Some captions are near to every query, and some queries to every caption (hubness: Radovanovic et al. 2010). Generic
queries measure both: see `Passage.hubness` and `Query.background`.

    python -m sploot_server.inference.text_encoder    computes the vectors of the generic queries
"""

import functools
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from sploot_server.inference.generic_queries import GENERIC_QUERIES
from sploot_server.inference.installed_encoders import (
    ADDED,
    DIMS,
    MINILM,
    USE,
    USE_WEIGHT,
    find_minilm_folder,
    find_use_folder,
    list_text_encoders,
)
from sploot_server.inference.minilm import MiniLM
from sploot_server.inference.onnx_text_encoder import OnnxTextEncoder
from sploot_server.inference.use_multilingual import MultilingualEncoder

Floats = npt.NDArray[np.float32]

MODEL_WEIGHTS = {USE: USE_WEIGHT, MINILM: 1 - USE_WEIGHT, ADDED: 1 - USE_WEIGHT}
LINE_CHARS_MIN = 3  # letters and digits
NAME_WORDS_MAX = 3  # of who posted a text: the line above a handle
QUERY_BYTES_MAX = 192  # of UTF-8: some 35 English words. The time of a query grows with the letters that are read
NEAREST_QUERIES = 20
HUBNESS_WEIGHT = 0.7
CJK_FIRST = 0x2E80
GENERIC_FILE = Path(__file__).with_name("generic_queries.npy")


@dataclass(frozen=True, slots=True)
class Passage:
    """A text to be found: its vector, as little-endian float32, and its hubness.

    `hubness` is HUBNESS_WEIGHT times the mean cosine with the nearest NEAREST_QUERIES generic queries: what any query
    gets from this text.
    """

    vector: bytes
    hubness: float


@dataclass(frozen=True, slots=True)
class Query:
    """A search query: its vector, as little-endian float32, and its background.

    `background` is the mean cosine with the generic queries: what this query gets from any text.
    """

    vector: bytes
    background: float


class TextEncoder:
    """Embeds passages and queries with all installed models. Thread-safe."""

    def __init__(self, added: Path | None = None) -> None:
        """Load the models; `added` is the folder of one that takes MiniLM's place.

        Raises ImportError if none is installed; OSError, ValueError or ModelUnusable if one fails to load.
        """
        self._encoders: Mapping[str, _Encoder] = {
            name: _AddedEncoder(added) if added and name == ADDED else _ENCODERS[name]()
            for name in list_text_encoders(has_added=added is not None)
        }
        if not self._encoders:
            raise ImportError("no text encoder is installed")
        self._executor = ThreadPoolExecutor(len(self._encoders))
        self._hub_encoder = list(self._encoders)[-1]  # the one that knows every text
        self._generic = {name: encoder.generic for name, encoder in self._encoders.items()}

    def passage(self, text: str) -> Passage | None:
        """Embed a text to be found; None if it contains nothing but fragments of words."""
        prepared_text = prepare_text(text)
        if not prepared_text:
            return None
        vectors = {name: model.embed(prepared_text) for name, model in self._encoders.items()}
        vector = vectors[self._hub_encoder]
        assert vector is not None
        cosines = self._generic[self._hub_encoder] @ vector
        hubness = HUBNESS_WEIGHT * float(np.sort(cosines)[-NEAREST_QUERIES:].mean())
        return Passage(self._concatenate(vectors), hubness)

    def query(self, text: str) -> Query:
        """Embed a search query."""
        prepared_text = cut_query(prepare_text(text) or text.lower())
        # The models run concurrently: a person waits for the result.
        results = self._executor.map(lambda model: model.embed(prepared_text), self._encoders.values())
        vectors = dict(zip(self._encoders, results, strict=True))
        known = {name: MODEL_WEIGHTS[name] for name, vector in vectors.items() if vector is not None}
        background = sum(
            weight * float((self._generic[name] @ vectors[name]).mean()) for name, weight in known.items()
        ) / sum(known.values())
        return Query(self._concatenate(vectors), background)

    def _concatenate(self, vectors: Mapping[str, Floats | None]) -> bytes:
        """Concatenate the models' vectors, with zeros for a model that does not know the text."""
        weights = {name: MODEL_WEIGHTS[name] if len(vectors) > 1 else 1.0 for name in vectors}
        known = sum(weights[name] for name, part in vectors.items() if part is not None)
        scaled = [
            np.zeros_like(self._generic[name][0]) if part is None else part * np.float32(weights[name] ** 0.5 / known)
            for name, part in vectors.items()
        ]
        return np.concatenate(scaled).astype("<f4").tobytes()


class _Encoder(Protocol):
    """One of the models; `generic` has the vectors of the generic queries, a row each."""

    generic: Floats

    def embed(self, text: str) -> Floats | None:
        """Return the vector of a text; None if the model does not know its language."""


class _MiniLMEncoder:
    """all-MiniLM-L6-v2, for English."""

    def __init__(self) -> None:
        folder = find_minilm_folder()
        assert folder is not None
        self._model = MiniLM(folder)
        self._is_only_encoder = list_text_encoders() == [MINILM]
        self.generic: Floats = _load_generic()[:, : DIMS[MINILM]]

    def embed(self, text: str) -> Floats | None:
        return self._model.embed(text) if self._is_only_encoder or self._model.is_english(text) else None


class _AddedEncoder:
    """A text encoder that a user added, for English, or for all languages if it knows several."""

    def __init__(self, folder: Path) -> None:
        self._model = OnnxTextEncoder(folder)
        minilm = find_minilm_folder()
        knows_all = self._model.is_multilingual or list_text_encoders(has_added=True) == [ADDED]
        self._english = MiniLM(minilm) if minilm and not knows_all else None
        self.generic = self._model.generic

    def embed(self, text: str) -> Floats | None:
        return self._model.embed(text) if self._english is None or self._english.is_english(text) else None


class _UseEncoder:
    """USE multilingual, for sixteen languages."""

    def __init__(self) -> None:
        folder = find_use_folder()
        assert folder is not None
        self._model = MultilingualEncoder(folder)
        self.generic: Floats = _load_generic()[:, DIMS[MINILM] :]

    def embed(self, text: str) -> Floats | None:
        return self._model.embed(text)


_ENCODERS: Mapping[str, Callable[[], _Encoder]] = {MINILM: _MiniLMEncoder, USE: _UseEncoder}


@functools.cache
def _load_generic() -> Floats:
    """Return the vectors of the generic queries, a row each: MiniLM's, then USE's."""
    generic: Floats = np.load(GENERIC_FILE).astype(np.float32)
    return generic


def embed_generic(queries: Sequence[str]) -> Floats:
    """Return the vectors of generic queries by both models, one row each."""
    minilm, use = find_minilm_folder(), find_use_folder()
    assert minilm is not None
    assert use is not None
    models = MiniLM(minilm), MultilingualEncoder(use)
    return np.array([np.concatenate([model.embed(prepare_text(each)) for model in models]) for each in queries])


def prepare_text(text: str) -> str:
    """Return the text in lower case on one line, without the handles, posters' names and specks that OCR picks up.

    On captioned images this raises the share of paraphrases among the first five results from 0.57 to 0.72: the models
    treat capitals as names, and a poster's handle as part of the sentence. Without the poster's name, the share between
    languages rises from 0.63 to 0.68.
    """
    lines = text.split("\n")
    is_post = len(lines) > 2 and lines[1].startswith("@") and len(lines[0].split()) <= NAME_WORDS_MAX
    lines = [line for line in lines[is_post:] if not line.startswith("@") and sum(map(_weight, line)) >= LINE_CHARS_MIN]
    return " ".join(" ".join(lines).lower().replace("\0", " ").split())


def _weight(letter: str) -> int:
    """Return how many letters a character counts for: a Chinese or Japanese one is most of a word."""
    return 0 if not letter.isalnum() else 1 if ord(letter) < CJK_FIRST else LINE_CHARS_MIN


def cut_query(text: str) -> str:
    """Return the first QUERY_BYTES_MAX of a query, after the normalization that makes 18 letters of one ligature."""
    return unicodedata.normalize("NFKC", text).encode("utf-8", "replace")[:QUERY_BYTES_MAX].decode("utf-8", "ignore")


if __name__ == "__main__":
    np.save(GENERIC_FILE, embed_generic(GENERIC_QUERIES).astype(np.float16))
