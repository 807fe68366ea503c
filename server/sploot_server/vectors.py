"""The nearest of very many vectors: by their signs first, exactly among those.

A vector's signs, one bit a dimension, are a thirty-second of its size, so those of 100,000 assets fit into 10 MB of
memory and are compared in a few milliseconds. How many signs two vectors have in common grows with their cosine
(Charikar 2002); who is near by signs is then compared by the vectors themselves, which stay in the database.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.int64]
Signs = npt.NDArray[np.uint64]

CAPACITY_MIN = 1024
WORD_BITS = 64
FLOAT_BYTES = 4


class SignIndex:
    """Grows only: who is no longer wanted is left out of results by the reader, and of the index at the next start."""

    def __init__(self, dim: int) -> None:
        self._dim = dim
        self._count = 0
        self._rows: Rows = np.empty(CAPACITY_MIN, np.int64)
        self._signs: Signs = np.empty((CAPACITY_MIN, -(-dim // WORD_BITS)), np.uint64)

    def __len__(self) -> int:
        return self._count

    def add(self, rows: Sequence[int], vectors: Sequence[bytes]) -> None:
        """Add the vectors of rows that are not in the index yet. Not to be called twice at once."""
        end = self._count + len(rows)
        while end > len(self._rows):  # copies: a search under way keeps what it has
            self._rows = np.concatenate([self._rows, np.empty_like(self._rows)])
            self._signs = np.concatenate([self._signs, np.empty_like(self._signs)])
        self._rows[self._count : end] = rows
        self._signs[self._count : end] = _signs(_floats(b"".join(vectors)).reshape(len(rows), self._dim))
        self._count = end

    def nearest(self, query: bytes, count: int, among: Sequence[int] | None = None) -> list[int]:
        """The `count` rows, of `among` or of all, that share most signs with the query, in no order."""
        rows, signs = self._rows[: self._count], self._signs[: self._count]
        if among is not None:
            wanted = np.isin(rows, np.fromiter(among, np.int64, len(among)))
            rows, signs = rows[wanted], signs[wanted]
        if count < len(rows):
            differing = np.bitwise_count(signs ^ _signs(_floats(query).reshape(1, -1))).sum(axis=1, dtype=np.uint16)
            rows = rows[np.argpartition(differing, count)[:count]]
        return [int(row) for row in rows]


def inner_products(query: bytes, vectors: Sequence[bytes | None]) -> list[float | None]:
    """Of the query with each vector; None for those that are not there."""
    there = [vector for vector in vectors if vector is not None]
    products = iter((_floats(b"".join(there)).reshape(len(there), -1) @ _floats(query)).tolist() if there else [])
    return [None if vector is None else next(products) for vector in vectors]


def _signs(vectors: npt.NDArray[np.float32]) -> Signs:
    """One bit a dimension, filled up with zeros to whole words."""
    bits = np.packbits(vectors > 0, axis=1)
    words = np.zeros((len(vectors), -(-vectors.shape[1] // WORD_BITS)), np.uint64)
    words.view(np.uint8)[:, : bits.shape[1]] = bits
    return words


def _floats(vector: bytes) -> npt.NDArray[np.float32]:
    return np.frombuffer(vector, "<f4")
