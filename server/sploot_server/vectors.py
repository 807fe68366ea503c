"""The nearest of very many vectors: by their signs first, exactly among those.

A vector's signs, one bit a dimension, are a thirty-second of its size, so those of 100,000 assets fit into 10 MB of
memory and are compared in a few milliseconds. How many signs two vectors have in common grows with their cosine
(Charikar 2002). Who is near so is compared once more, the signs with the query's own numbers; the few that are left are
the reader's to compare by the vectors themselves, which stay in the database.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from sploot_server.models import E5_SHARE

Rows = npt.NDArray[np.int64]
Signs = npt.NDArray[np.uint64]

CAPACITY_MIN = 1024
WORD_BITS = 64
BYTE_BITS = 8
AT_ONCE = 8192  # columns of signs that fit into a processor's own memory
ROUGHLY = 10  # so many times as many as are wanted are compared by more than the number of signs in common
FLOAT_BYTES = 4


class SignIndex:
    """Grows only: who is no longer wanted is left out of results by the reader, and of the index at the next start."""

    def __init__(self, dim: int) -> None:
        self._dim = dim
        self._count = 0
        self._rows: Rows = np.empty(CAPACITY_MIN, np.int64)
        self._signs: Signs = np.empty((-(-dim // WORD_BITS), CAPACITY_MIN), np.uint64)  # a column for each vector

    def __len__(self) -> int:
        return self._count

    def add(self, rows: Sequence[int], vectors: Sequence[bytes]) -> None:
        """Add the vectors of rows that are not in the index yet. Not to be called twice at once."""
        end = self._count + len(rows)
        while end > len(self._rows):  # copies: a search under way keeps what it has
            self._rows = np.concatenate([self._rows, np.empty_like(self._rows)])
            self._signs = np.concatenate([self._signs, np.empty_like(self._signs)], axis=1)
        self._rows[self._count : end] = rows
        self._signs[:, self._count : end] = _signs(_floats(b"".join(vectors)).reshape(len(rows), self._dim))
        self._count = end

    def nearest(self, query: bytes, count: int, among: Sequence[int] | None = None) -> list[int]:
        """`count` rows, of `among` or of all, that are near the query, in no order; nearly all of the nearest are."""
        rows, signs = self._rows[: self._count], self._signs[:, : self._count]
        if among is not None:
            wanted = np.isin(rows, np.fromiter(among, np.int64, len(among)))
            rows, signs = rows[wanted], signs[:, wanted]
        if count * ROUGHLY < len(rows):
            differing = _differing(signs, _floats(query).reshape(1, -1))
            near = np.argpartition(differing, count * ROUGHLY)[: count * ROUGHLY]
            rows, signs = rows[near], signs[:, near]
        if count < len(rows):
            rows = rows[np.argpartition(-_half_products(query, signs), count)[:count]]
        found: list[int] = rows.tolist()
        return found


def inner_products(query: bytes, vectors: Sequence[bytes | None]) -> list[float | None]:
    """Of the query with each vector, brought to cosines; None for those that are not there.

    A vector of two models has length 1, but length 1 / sqrt(E5_SHARE) where only e5 has something to say, so that this
    counts for both. Where that is so on either side it would count for both twice.
    """
    sought = _floats(query)
    there = [vector for vector in vectors if vector is not None]
    # Not `@`: for so few numbers the threads of a matrix library cost more than they bring.
    matrix = _floats(b"".join(there)).reshape(len(there), len(sought))
    squares = np.einsum("ij,ij->i", matrix, matrix) * np.einsum("j,j->", sought, sought)
    products = iter((np.einsum("ij,j->i", matrix, sought) / np.maximum(1, squares * E5_SHARE)).tolist())
    return [None if vector is None else next(products) for vector in vectors]


def _differing(signs: Signs, query: npt.NDArray[np.float32]) -> npt.NDArray[np.uint16]:
    """In how many signs each column differs from the query's; a part in which the query says nothing does not count."""
    sought = _signs(query)
    says = _signs(np.abs(query)).any(axis=1)
    if not says.all():
        signs, sought = signs[says], sought[says]
    differing = np.empty(signs.shape[1], np.uint16)
    for start in range(0, len(differing), AT_ONCE):
        here = slice(start, start + AT_ONCE)
        np.bitwise_count(signs[:, here] ^ sought).sum(axis=0, out=differing[here])
    return differing


def _half_products(query: bytes, signs: Signs) -> npt.NDArray[np.float32]:
    """Of the query with vectors of which only the signs are known: looked up, eight dimensions at a time."""
    sought = np.zeros(len(signs) * WORD_BITS, np.float32)
    sought[: len(query) // FLOAT_BYTES] = _floats(query)
    patterns = np.unpackbits(np.arange(256, dtype=np.uint8).reshape(-1, 1), axis=1).astype(np.float32) * 2 - 1
    table = sought.reshape(-1, BYTE_BITS) @ patterns.T  # [byte of the signs, its value]
    each_byte = np.ascontiguousarray(signs.T).view(np.uint8)
    places = each_byte + np.arange(0, table.size, table.shape[1])
    products: npt.NDArray[np.float32] = table.ravel().take(places).sum(axis=1)
    return products


def _signs(vectors: npt.NDArray[np.float32]) -> Signs:
    """One bit a dimension, filled up with zeros to whole words; a column for each vector."""
    bits = np.packbits(vectors > 0, axis=1)
    words = np.zeros((len(vectors), -(-vectors.shape[1] // WORD_BITS)), np.uint64)
    words.view(np.uint8)[:, : bits.shape[1]] = bits
    return words.T


def _floats(vector: bytes) -> npt.NDArray[np.float32]:
    return np.frombuffer(vector, "<f4")
