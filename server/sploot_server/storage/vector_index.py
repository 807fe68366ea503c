"""Binary-quantized nearest-neighbour index in memory.

The signs of a vector, one bit per dimension, take a thirty-second of its size: those of 100,000 assets fit into 10 MB
and are compared in a few milliseconds. The number of signs that two vectors share grows with their cosine (Charikar
2002). The nearest by signs are rescored, their signs against the query's full-precision numbers; the caller compares
the remaining few by the exact vectors, which stay in the database.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from sploot_server.inference.installed_encoders import USE_WEIGHT

Rows = npt.NDArray[np.int64]
SignBits = npt.NDArray[np.uint64]

CAPACITY_MIN = 1024
WORD_BITS = 64
BYTE_BITS = 8
CHUNK_COLUMNS = 8192  # columns of signs that fit into the processor's cache
RESCORING_FACTOR = 10  # rescored rows per row of the result
FLOAT_BYTES = 4


class BinaryVectorIndex:
    """An append-only index: callers filter deleted rows from the results; the next start rebuilds it without them."""

    def __init__(self, dim: int) -> None:
        self._dim = dim
        self._count = 0
        self._rows: Rows = np.empty(CAPACITY_MIN, np.int64)
        # One column per vector: comparing a word of all vectors reads contiguous memory.
        self._sign_bits: SignBits = np.empty((-(-dim // WORD_BITS), CAPACITY_MIN), np.uint64)

    def __len__(self) -> int:
        return self._count

    def add(self, rows: Sequence[int], vectors: Sequence[bytes]) -> None:
        """Add the vectors of rows that are not in the index yet. Not thread-safe with itself."""
        end = self._count + len(rows)
        # A concurrent search keeps its arrays: growing copies them, and `_count` is increased last.
        while end > len(self._rows):
            self._rows = np.concatenate([self._rows, np.empty_like(self._rows)])
            self._sign_bits = np.concatenate([self._sign_bits, np.empty_like(self._sign_bits)], axis=1)
        self._rows[self._count : end] = rows
        self._sign_bits[:, self._count : end] = _sign_bits(
            _unpack_floats(b"".join(vectors)).reshape(len(rows), self._dim)
        )
        self._count = end

    def nearest(self, query: bytes, count: int, allowed_rows: Sequence[int] | None = None) -> list[int]:
        """Return `count` rows near the query, of all or of `allowed_rows`, unordered; the recall is nearly complete."""
        rows, sign_bits = self._rows[: self._count], self._sign_bits[:, : self._count]
        if allowed_rows is not None:
            mask = np.isin(rows, np.fromiter(allowed_rows, np.int64, len(allowed_rows)))
            rows, sign_bits = rows[mask], sign_bits[:, mask]
        if count * RESCORING_FACTOR < len(rows):
            distances = _hamming_distances(sign_bits, _unpack_floats(query).reshape(1, -1))
            near = np.argpartition(distances, count * RESCORING_FACTOR)[: count * RESCORING_FACTOR]
            rows, sign_bits = rows[near], sign_bits[:, near]
        if count < len(rows):
            rows = rows[np.argpartition(-_asymmetric_products(query, sign_bits), count)[:count]]
        result: list[int] = rows.tolist()
        return result


def cosine_similarities(query: bytes, vectors: Sequence[bytes | None]) -> list[float | None]:
    """Return the cosine of the query with each vector; None for missing ones.

    A text vector concatenates the vectors of two models and has length 1; if only USE knows the text, it has length
    1 / sqrt(USE_WEIGHT), so that USE's part counts for both. If that is true of both sides, their inner product counts
    it twice and must be divided by the product of their squared lengths, times USE_WEIGHT.
    """
    query_vector = _unpack_floats(query)
    present = [vector for vector in vectors if vector is not None]
    # Not `@`: for so few numbers BLAS spends more time on starting its threads than it saves.
    matrix = _unpack_floats(b"".join(present)).reshape(len(present), len(query_vector))
    squares = np.einsum("ij,ij->i", matrix, matrix) * np.einsum("j,j->", query_vector, query_vector)
    products = iter((np.einsum("ij,j->i", matrix, query_vector) / np.maximum(1, squares * USE_WEIGHT)).tolist())
    return [None if vector is None else next(products) for vector in vectors]


def _hamming_distances(signs: SignBits, query: npt.NDArray[np.float32]) -> npt.NDArray[np.uint16]:
    """Return the number of signs in which each column differs from the query; words of zeros in it do not count."""
    query_signs = _sign_bits(query)
    nonzero_words = _sign_bits(np.abs(query)).any(axis=1)
    if not nonzero_words.all():
        signs, query_signs = signs[nonzero_words], query_signs[nonzero_words]
    distances = np.empty(signs.shape[1], np.uint16)
    for start in range(0, len(distances), CHUNK_COLUMNS):
        here = slice(start, start + CHUNK_COLUMNS)
        np.bitwise_count(signs[:, here] ^ query_signs).sum(axis=0, out=distances[here])
    return distances


def _asymmetric_products(query: bytes, signs: SignBits) -> npt.NDArray[np.float32]:
    """Return the inner products of the query with the vectors' signs, by a lookup table for each eight dimensions."""
    query_vector = np.zeros(len(signs) * WORD_BITS, np.float32)
    query_vector[: len(query) // FLOAT_BYTES] = _unpack_floats(query)
    patterns = np.unpackbits(np.arange(256, dtype=np.uint8).reshape(-1, 1), axis=1).astype(np.float32) * 2 - 1
    table = query_vector.reshape(-1, BYTE_BITS) @ patterns.T  # [byte of the signs, its value]
    each_byte = np.ascontiguousarray(signs.T).view(np.uint8)
    indices = each_byte + np.arange(0, table.size, table.shape[1])
    products: npt.NDArray[np.float32] = table.ravel().take(indices).sum(axis=1)
    return products


def _sign_bits(vectors: npt.NDArray[np.float32]) -> SignBits:
    """Return one bit per dimension, padded with zeros to whole words; one column per vector."""
    bits = np.packbits(vectors > 0, axis=1)
    words = np.zeros((len(vectors), -(-vectors.shape[1] // WORD_BITS)), np.uint64)
    words.view(np.uint8)[:, : bits.shape[1]] = bits
    return words.T


def _unpack_floats(vector: bytes) -> npt.NDArray[np.float32]:
    return np.frombuffer(vector, "<f4")
