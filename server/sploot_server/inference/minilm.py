"""all-MiniLM-L6-v2 in plain numpy, so that the query worker starts quickly and stays small.

The weights are memory-mapped from the `model.safetensors` of an installed package, which is not imported. The forward
pass is BERT's (Devlin et al. 2018) with six layers of twelve heads; the sentence vector is the mean of the last layer,
scaled to length 1 (Reimers and Gurevych 2019).
"""

import json
import struct
import unicodedata
from pathlib import Path

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

DIM = 384
LAYERS = 6
HEADS = 12
SEQUENCE_TOKENS_MAX = 256
WORD_CHARS_MAX = 100  # longer words count as unknown, as in BERT's own tokenizer
HEADER_BYTES_MAX = 1024 * 1024
KNOWN_WORDS_RATIO_MIN = 0.5  # English sentences, typos included, have a higher ratio; others a lower one
FOREIGN_WORDS = frozenset(
    word
    for line in (
        "aus bei das dem der des ein eine einen es ich im ihr ist mein mit nicht sie und von wenn wie zu auf",  # German
        "al como con cuando del el hay las lo los mas mi muy para pero por que se su tu una",  # Spanish
        "au aux avec ce dans du elle est et il je le les ma mon ne nous ou pas qui sur une vous",  # French
        "alla anche che della di gli ho nel non piu sono si",  # Italian
        "ao com da eu mas na nao os ou seu sua um uma voce",  # Portuguese
        "dat een het ik maar naar niet op te van wel zijn",  # Dutch
        "de e en la un y",
    )
    for word in line.split()
)
"""The most common words of other languages, without accents and English words: the vocabulary contains most of them."""
EPSILON = 1e-12


class MiniLM:
    """Embeds English sentences. Thread-safe."""

    def __init__(self, folder: Path) -> None:
        self._weights = _load_tensors(folder / "model.safetensors")
        self._vocabulary = {
            word: number for number, word in enumerate((folder / "vocab.txt").read_text("utf-8").split("\n"))
        }

    def embed(self, text: str) -> Floats:
        """Return the vector of one sentence: DIM float32 of length 1."""
        ids = self._tokenize(text)
        weights = self._weights
        hidden = weights["embeddings.word_embeddings.weight"][ids]
        hidden = hidden + weights["embeddings.position_embeddings.weight"][: len(ids)]
        hidden = self._layer_norm(
            hidden + weights["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm"
        )
        for layer in range(LAYERS):
            hidden = self._encoder_layer(hidden, f"encoder.layer.{layer}")
        mean: Floats = hidden.mean(axis=0)
        return mean / max(float(np.linalg.norm(mean)), EPSILON)

    def is_english(self, text: str) -> bool:
        """Return whether the text is English, by the share of its words that the vocabulary contains whole."""
        words = [word for word in _split_words(text) if len(word) > 1]
        known = sum(word in self._vocabulary and word not in FOREIGN_WORDS for word in words)
        return known >= KNOWN_WORDS_RATIO_MIN * len(words)

    def _encoder_layer(self, hidden: Floats, layer: str) -> Floats:
        attended = self._linear(self._attention(hidden, f"{layer}.attention.self"), f"{layer}.attention.output.dense")
        hidden = self._layer_norm(hidden + attended, f"{layer}.attention.output.LayerNorm")
        wide = _gelu(self._linear(hidden, f"{layer}.intermediate.dense"))
        return self._layer_norm(hidden + self._linear(wide, f"{layer}.output.dense"), f"{layer}.output.LayerNorm")

    def _attention(self, hidden: Floats, name: str) -> Floats:
        count = len(hidden)
        query, key, value = (
            self._linear(hidden, f"{name}.{part}").reshape(count, HEADS, -1).transpose(1, 0, 2)
            for part in ("query", "key", "value")
        )
        scores = query @ key.transpose(0, 2, 1) / np.float32(np.sqrt(DIM // HEADS))
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        weights /= weights.sum(axis=-1, keepdims=True)
        attended: Floats = (weights @ value).transpose(1, 0, 2).reshape(count, DIM)
        return attended

    def _linear(self, inputs: Floats, name: str) -> Floats:
        # Not `inputs @ weights.T`: it takes a third longer for the few words of a query.
        outputs: Floats = (self._weights[f"{name}.weight"] @ inputs.T).T + self._weights[f"{name}.bias"]
        return outputs

    def _layer_norm(self, inputs: Floats, name: str) -> Floats:
        centred = inputs - inputs.mean(axis=-1, keepdims=True)
        scaled = centred / np.sqrt((centred * centred).mean(axis=-1, keepdims=True) + np.float32(EPSILON))
        outputs: Floats = scaled * self._weights[f"{name}.weight"] + self._weights[f"{name}.bias"]
        return outputs

    def _tokenize(self, text: str) -> list[int]:
        """Return the token ids of a text, enclosed in the start and end tokens."""
        inner = [piece for word in _split_words(text) for piece in self._word_pieces(word)][: SEQUENCE_TOKENS_MAX - 2]
        return [self._vocabulary["[CLS]"], *inner, self._vocabulary["[SEP]"]]

    def _word_pieces(self, word: str) -> list[int]:
        """Split a word by WordPiece: the longest known prefix, then the longest known continuation, and so on."""
        unknown, pieces, start = [self._vocabulary["[UNK]"]], [], 0
        if len(word) > WORD_CHARS_MAX:
            return unknown
        while start < len(word):
            for end in range(len(word), start, -1):
                number = self._vocabulary.get(("##" if start else "") + word[start:end])
                if number is not None:
                    break
            else:
                return unknown
            pieces.append(number)
            start = end
        return pieces


def _split_words(text: str) -> list[str]:
    """Split a text into lower-case words without accents; each punctuation mark and CJK character is a word."""
    spaced = []
    for letter in unicodedata.normalize("NFD", text.lower()):
        kind = unicodedata.category(letter)
        if kind == "Mn" or (kind in ("Cc", "Cf", "Co", "Cn", "Cs") and letter not in "\t\n\r"):
            continue
        is_word = kind.startswith("P") or (letter.isascii() and kind.startswith("S")) or _is_cjk(letter)
        spaced.append(f" {letter} " if is_word else letter)
    return "".join(spaced).split()


def _is_cjk(letter: str) -> bool:
    code = ord(letter)
    return (
        0x4E00 <= code <= 0x9FFF or 0x3400 <= code <= 0x4DBF or 0xF900 <= code <= 0xFAFF or 0x20000 <= code <= 0x2FA1F
    )


def _gelu(inputs: Floats) -> Floats:
    """Return x/2 * (1 + erf(x / sqrt 2)); erf by Abramowitz and Stegun 7.1.26, with an error of at most 1.5e-7."""
    scaled = np.abs(inputs) * np.float32(np.sqrt(0.5))
    t = 1.0 / (1.0 + np.float32(0.3275911) * scaled)
    series = np.float32(1.061405429) * t - np.float32(1.453152027)
    for factor in (1.421413741, -0.284496736, 0.254829592):
        series = series * t + np.float32(factor)
    erf = np.copysign(1.0 - series * t * np.exp(-scaled * scaled), inputs)
    outputs: Floats = inputs * np.float32(0.5) * (1.0 + erf)
    return outputs


def _load_tensors(file: Path) -> dict[str, Floats]:
    """Memory-map the float32 tensors of a safetensors file: 8 bytes of length, a JSON header, then the numbers."""
    with file.open("rb") as stream:
        (length,) = struct.unpack("<Q", stream.read(8))
        if length > HEADER_BYTES_MAX:
            raise OSError(f"{file} is not a safetensors file.")
        header = json.loads(stream.read(length))
    data = np.memmap(file, np.uint8, "r", offset=8 + length)
    return {
        name: data[slice(*tensor["data_offsets"])].view("<f4").reshape(tensor["shape"])
        for name, tensor in header.items()
        if name != "__metadata__" and tensor["dtype"] == "F32"
    }
