"""Universal Sentence Encoder, multilingual, version 3 (Yang et al. 2019) in plain numpy, for sixteen languages.

The weights are read from an installed package, which is not imported. Its archive is compressed, so the first start
stores them unpacked (see `model_cache.py`): later ones take 0.1 s instead of 1 s, and all workers share one copy. The
network: the mean of convolutions over runs of two, three and five word pieces, then three dense layers.
"""

import struct
import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sploot_server.inference.model_cache import load_or_compute

Floats = npt.NDArray[np.float32]

DIM = 512
CHANNELS = 256
RUNS = ((2, 0), (3, 1), (5, 2))  # word pieces in a run, and how many of them precede the piece it belongs to
TABLES = 17  # piece n is row n // TABLES of table n % TABLES; each table has a scale of its own
UNKNOWN, START, END = 0, 1, 2  # word pieces
UNKNOWN_PENALTY = 10.0
PIECES_MAX = 512
SPACE = "\u2581"


class MultilingualEncoder:
    """Embeds sentences. Thread-safe."""

    def __init__(self, resources: Path) -> None:
        """Load the model in the folder `resources` of the package. Raises OSError or ValueError."""
        self._weights = _load_weights(resources)
        pieces = self._weights["pieces"].tobytes().decode().split("\0")
        self._pieces = dict(zip(pieces, range(len(pieces)), strict=True))
        self._longest = max(map(len, pieces))
        self._scores: list[float] = self._weights["piece_scores"].tolist()
        self._unknown_score = min(self._scores) - UNKNOWN_PENALTY

    def embed(self, text: str) -> Floats:
        """Return the vector of one sentence: DIM float32 of length 1."""
        weights = self._weights
        ids = np.array([START, *self._split(text)[:PIECES_MAX], END])
        embedded = weights["table"][ids] * weights["scale"][ids % TABLES, None] + weights["lo"][ids % TABLES, None]
        features = np.concatenate([embedded, *(self._convolve(embedded, *run) for run in RUNS)], axis=1)
        features = self._layer_norm(features, "")
        # The sum commutes with the projection, which then takes one row instead of one per piece.
        sentence = (features.sum(axis=0) @ weights["cnn_W"] + len(ids) * weights["cnn_b"]) / np.sqrt(len(ids))
        first = np.maximum(sentence @ weights["d0"], 0)
        second = np.maximum(first @ weights["d1"] + sentence @ weights["p1"], 0)
        third = np.maximum(second @ weights["d2"], 0)
        vector = np.tanh(third @ weights["d3"] + second @ weights["p3"])
        unit: Floats = vector / max(float(np.linalg.norm(vector)), float(weights["eps"]))
        return unit.astype(np.float32)

    def _convolve(self, embedded: Floats, run: int, before: int) -> Floats:
        """Return CHANNELS features per word piece from two convolutions over runs of pieces."""
        weights = self._weights
        pieces = self._layer_norm(embedded @ weights[f"proj{run}"] + weights[f"proj_b{run}"], str(run))
        for layer in ("1", "2"):
            padded = np.pad(pieces, ((before, run - 1 - before), (0, 0)))
            runs = np.concatenate([padded[shift : shift + len(pieces)] for shift in range(run)], axis=1)
            pieces = pieces + np.maximum(runs @ weights[f"w{layer}_{run}"] + weights[f"b{layer}_{run}"], 0)
        return pieces

    def _layer_norm(self, inputs: Floats, name: str) -> Floats:
        centred = inputs - inputs.mean(axis=-1, keepdims=True)
        scaled = centred / np.sqrt((centred * centred).mean(axis=-1, keepdims=True) + np.float32(self._weights["eps"]))
        outputs: Floats = scaled * self._weights[f"ln_g{name}"] + self._weights[f"ln_b{name}"]
        return outputs

    def _split(self, text: str) -> list[int]:
        """Return the most probable word pieces of a text: Viterbi over a unigram model (Kudo 2018)."""
        words = SPACE + SPACE.join(unicodedata.normalize("NFKC", text).split())
        best = [0.0, *[-float("inf")] * len(words)]
        arrivals = [(0, UNKNOWN)] * len(best)  # at each position: the start of the piece that ends there, its number
        for start in range(len(words)):
            for end in range(start + 1, min(start + self._longest, len(words)) + 1):
                number = self._pieces.get(words[start:end])
                if number is None and end > start + 1:
                    continue
                score = best[start] + (self._unknown_score if number is None else self._scores[number])
                if score > best[end]:
                    best[end], arrivals[end] = score, (start, UNKNOWN if number is None else number)
        ids, position = [], len(words)
        while position:
            position, number = arrivals[position]
            ids.append(number)
        return ids[::-1]


def _load_weights(resources: Path) -> Mapping[str, Any]:
    """Map the weights into memory, unpacked when this file was first read."""
    file = (resources / "weights.npz").stat()
    return load_or_compute(f"use-{file.st_size}-{file.st_mtime_ns}", lambda: _read_package(resources))


def _read_package(resources: Path) -> dict[str, npt.NDArray[Any]]:
    with np.load(resources / "weights.npz", allow_pickle=False) as archive:
        weights = {name: archive[name] for name in archive.files if not name.startswith("q")}
        tables = [archive[f"q{number + 1}"] for number in range(TABLES)]
    weights["table"] = np.stack(tables, axis=1).reshape(-1, DIM)
    pieces = list(_read_pieces((resources / "sp.model").read_bytes()))
    weights["pieces"] = np.frombuffer("\0".join(piece for piece, _ in pieces).encode(), np.uint8)
    weights["piece_scores"] = np.array([score for _, score in pieces], np.float32)
    return weights


def _read_pieces(model: bytes) -> Iterator[tuple[str, float]]:
    """Return the word pieces of a SentencePiece model: a protocol buffer whose field 1 repeats (1 text, 2 score)."""
    for field, piece in _fields(model):
        if field == 1:
            values = dict(_fields(piece))
            yield values[1].decode(), struct.unpack("<f", values[2])[0] if 2 in values else 0.0


def _fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """Return the fields of a protocol buffer message that are not numbers of variable length."""
    position = 0
    while position < len(message):
        key, position = _varint(message, position)
        wire_type = key & 7
        if wire_type == 0:
            _, position = _varint(message, position)
            continue
        if wire_type == 2:
            size, position = _varint(message, position)
        else:
            size = {1: 8, 5: 4}[wire_type]
        yield key >> 3, message[position : position + size]
        position += size


def _varint(message: bytes, position: int) -> tuple[int, int]:
    """Return the number at a position, seven bits per byte and the lowest first, and the position after it."""
    number = shift = 0
    while True:
        byte = message[position]
        number |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80:
            return number, position
