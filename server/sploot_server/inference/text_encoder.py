"""Text embeddings by the installed models. Runs in worker processes only, so that the server stays small.

The two small models complement each other. A vector is the concatenation of theirs, scaled so that the inner product of
a query and a passage is the weighted mean of the cosines by the models that know the languages of both. The vector has
length 1, unless only one of the two models knows the text: then that model counts for both.

Some captions are near to every query, and some queries to every caption (hubness: Radovanovic et al. 2010). Generic
queries measure both: see `Passage.hubness` and `Query.background`.

    python -m sploot_server.inference.text_encoder    computes the vectors of the generic queries
"""

import unicodedata
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sploot_server.inference.generic_queries import GENERIC_QUERIES
from sploot_server.inference.installed_encoders import (
    DIMS,
    MINILM,
    USE,
    USE_WEIGHT,
    find_minilm_folder,
    find_use_folder,
    list_installed_encoders,
)
from sploot_server.inference.minilm import MiniLM
from sploot_server.inference.use_multilingual import MultilingualEncoder

Floats = npt.NDArray[np.float32]

MODEL_WEIGHTS = {USE: USE_WEIGHT, MINILM: 1 - USE_WEIGHT}
LINE_CHARS_MIN = 3  # letters and digits
QUERY_BYTES_MAX = 192  # of UTF-8: some 35 English words. The time of a query grows with the letters that are read
NEAREST_QUERIES = 5
HUBNESS_WEIGHT = 0.5
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

    def __init__(self) -> None:
        """Load the models. Raises ImportError if none is installed; OSError or ValueError if one fails to load."""
        self._encoders = {name: _ENCODERS[name]() for name in list_installed_encoders()}
        if not self._encoders:
            raise ImportError("no text encoder is installed")
        self._executor = ThreadPoolExecutor(len(self._encoders))
        self._hub_encoder = USE if USE in self._encoders else MINILM  # the one that knows every text
        generic = dict(
            zip((MINILM, USE), np.split(np.load(GENERIC_FILE).astype(np.float32), [DIMS[MINILM]], axis=1), strict=True)
        )
        self._generic: Mapping[str, Floats] = {name: generic[name] for name in self._encoders}

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
        return Passage(_concatenate(vectors), hubness)

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
        return Query(_concatenate(vectors), background)


class _MiniLMEncoder:
    """all-MiniLM-L6-v2, for English."""

    def __init__(self) -> None:
        folder = find_minilm_folder()
        assert folder is not None
        self._model = MiniLM(folder)
        self._is_only_encoder = len(list_installed_encoders()) == 1

    def embed(self, text: str) -> Floats | None:
        return self._model.embed(text) if self._is_only_encoder or self._model.is_english(text) else None


class _UseEncoder:
    """USE multilingual, for sixteen languages."""

    def __init__(self) -> None:
        folder = find_use_folder()
        assert folder is not None
        self._model = MultilingualEncoder(folder)

    def embed(self, text: str) -> Floats | None:
        return self._model.embed(text)


_ENCODERS: dict[str, type[_UseEncoder] | type[_MiniLMEncoder]] = {USE: _UseEncoder, MINILM: _MiniLMEncoder}


def embed_generic(queries: Sequence[str]) -> Floats:
    """Return the vectors of generic queries by both models, one row each."""
    minilm, use = find_minilm_folder(), find_use_folder()
    assert minilm is not None
    assert use is not None
    models = MiniLM(minilm), MultilingualEncoder(use)
    return np.array([np.concatenate([model.embed(prepare_text(each)) for model in models]) for each in queries])


def prepare_text(text: str) -> str:
    """Return the text in lower case on one line, without the handles and specks that OCR picks up.

    On captioned images this raises the share of paraphrases among the first five results from 0.57 to 0.72: the models
    treat capitals as names, and a poster's handle as part of the sentence.
    """
    lines = [
        line for line in text.split("\n") if not line.startswith("@") and sum(map(_weight, line)) >= LINE_CHARS_MIN
    ]
    return " ".join(" ".join(lines).lower().replace("\0", " ").split())


def _weight(letter: str) -> int:
    """Return how many letters a character counts for: a Chinese or Japanese one is most of a word."""
    return 0 if not letter.isalnum() else 1 if ord(letter) < CJK_FIRST else LINE_CHARS_MIN


def cut_query(text: str) -> str:
    """Return the first QUERY_BYTES_MAX of a query, after the normalization that makes 18 letters of one ligature."""
    return unicodedata.normalize("NFKC", text).encode("utf-8", "replace")[:QUERY_BYTES_MAX].decode("utf-8", "ignore")


def _concatenate(vectors: Mapping[str, Floats | None]) -> bytes:
    """Concatenate the models' vectors, with zeros for a model that does not know the text."""
    weights = {name: MODEL_WEIGHTS[name] if len(vectors) > 1 else 1.0 for name in vectors}
    known = sum(weights[name] for name, part in vectors.items() if part is not None)
    scaled = [
        np.zeros(DIMS[name], np.float32) if part is None else part * np.float32(weights[name] ** 0.5 / known)
        for name, part in vectors.items()
    ]
    return np.concatenate(scaled).astype("<f4").tobytes()


if __name__ == "__main__":
    np.save(GENERIC_FILE, embed_generic(GENERIC_QUERIES).astype(np.float16))
