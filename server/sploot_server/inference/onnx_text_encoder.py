"""A text encoder that a user added (`text_manifest.py`): an ONNX graph in the layout of sentence-transformers.

Runs in worker processes only. `python -m sploot_server.inference.onnx_text_encoder DIR` checks one and reports its
errors.
"""

import hashlib
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sploot_server.inference.generic_queries import GENERIC_QUERIES
from sploot_server.inference.model_cache import load_or_compute
from sploot_server.inference.model_manifest import ModelUnusable
from sploot_server.inference.onnx_model import (
    input_dtype,
    load_tokenizer,
    open_session,
    report_errors,
    scale_to_length_1,
)
from sploot_server.inference.text_manifest import GRAPH, INPUTS, TextManifest

Floats = npt.NDArray[np.float32]

TRANSLATIONS = (  # of the same sentences; the words of one are not in the others
    ("the food arrives at last", "my boss is angry again", "it rains in summer", "the cat sleeps"),
    ("endlich kommt das Essen", "mein Chef ist wieder wütend", "im Sommer regnet es", "die Katze schläft"),
    ("por fin llega la comida", "mi jefe está enfadado otra vez", "llueve en verano", "el gato duerme"),
    ("le repas arrive enfin", "mon chef est encore en colère", "il pleut en été", "le chat dort"),
)


class OnnxTextEncoder:
    """Embeds texts. Thread-safe.

    `generic` has the vectors of the generic queries, a row each. `is_multilingual` says whether translations are nearer
    to each other than to other sentences. Both are measured once and then kept in the user's cache.
    """

    def __init__(self, folder: Path) -> None:
        """Load the graph and the tokenizer. Raises ModelUnusable if either is unusable."""
        self._manifest = TextManifest.read(folder)
        self._tokenizer = load_tokenizer(folder, self._manifest.context)
        self._session = open_session(folder / GRAPH, ["input_ids"], self._manifest.output)
        self._inputs = [each.name for each in self._session.get_inputs()]
        if unknown := set(self._inputs).difference(INPUTS):
            raise ModelUnusable(f"{GRAPH} has inputs that are not known: {', '.join(sorted(unknown))}.")
        queries = hashlib.sha256("\n".join(GENERIC_QUERIES).encode()).hexdigest()[:12]
        measured = load_or_compute(
            f"text-encoder-{self._manifest.revision}-{queries}",
            lambda: {
                "generic": np.array([self.embed(each) for each in GENERIC_QUERIES]),
                "multilingual": np.array(self._knows_translations()),
            },
        )
        self.generic: Floats = measured["generic"]
        self.is_multilingual = bool(measured["multilingual"])

    def embed(self, text: str) -> Floats:
        """Return the vector of a text: float32 of length 1."""
        manifest = self._manifest
        ids = self._tokenizer.encode(text).ids
        if not ids:  # a tokenizer that adds no tokens of its own
            return np.zeros(manifest.dim, np.float32)
        values = {"input_ids": ids, "attention_mask": [1] * len(ids), "token_type_ids": [0] * len(ids)}
        inputs = {name: np.array([values[name]], input_dtype(self._session, name)) for name in self._inputs}
        output = np.asarray(self._session.run([manifest.output], inputs)[0], np.float32)[0]
        if output.ndim != (1 if manifest.pooling == "none" else 2) or output.shape[-1] != manifest.dim:
            raise ModelUnusable(f"{GRAPH} returns {output.shape}, which does not match its manifest.")
        pooled = {"none": lambda: output, "cls": lambda: output[0], "mean": lambda: output.mean(axis=0)}
        return scale_to_length_1(pooled[manifest.pooling](), GRAPH)

    def _knows_translations(self) -> bool:
        languages = [np.array([self.embed(each.lower()) for each in sentences]) for sentences in TRANSLATIONS]
        nearest = [np.argmax(translations @ languages[0].T, axis=1).tolist() for translations in languages[1:]]
        return all(each == [*range(len(languages[0]))] for each in nearest)


def main() -> None:
    """Check the encoder with short texts; exit 1 with a sentence for an error."""
    folder = Path(sys.argv[1])
    report_errors([lambda: OnnxTextEncoder(folder).embed("a picture")])


if __name__ == "__main__":
    main()
