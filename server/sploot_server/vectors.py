"""Vectors of all ready assets in memory, compared by brute force (0.15 ms per 1000 of them)."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

CAPACITY_MIN = 1024
TINY = 1e-6
CENTRE_WEIGHT = 32  # how many assets the general centre counts for beside the library's own


class VectorIndex:
    """Grows only: who is no longer wanted is left out of results by the reader, and of the index at the next start.

    Vectors of e5 lie in a narrow cone, all within a cosine of 0.8: what is common to all says nothing about a match,
    so the centre of the library is subtracted and the rest brought back to length 1. A small library has no centre of
    its own yet; `centre`, of captions in general, stands in for it.
    """

    def __init__(self, centre: bytes) -> None:
        self._prior = _floats(centre)
        self._rows: list[int] = []
        self._places: dict[int, int] = {}
        self._vectors = np.empty((CAPACITY_MIN, len(self._prior)), np.float32)
        self._sum = np.zeros(len(self._prior), np.float64)

    def add(self, rows: Sequence[int], vectors: Sequence[bytes]) -> None:
        """Add the vectors of rows that are not in the index yet. Not to be called twice at once."""
        count = len(self._rows)
        fresh = _floats(b"".join(vectors)).reshape(len(rows), -1)
        while count + len(rows) > len(self._vectors):
            self._vectors = np.concatenate([self._vectors, np.empty_like(self._vectors)])
        self._vectors[count : count + len(rows)] = fresh
        self._sum += fresh.sum(axis=0)
        self._places.update(zip(rows, range(count, count + len(rows)), strict=True))
        self._rows.extend(rows)

    def similarities(self, query: bytes) -> "Similarities":
        """How similar to the query each row is: the cosine, both seen from the centre."""
        count = len(self._rows)
        vectors = self._vectors[:count]
        centre = ((self._prior * CENTRE_WEIGHT + self._sum) / (CENTRE_WEIGHT + count)).astype(np.float32)
        seen = _floats(query) - centre
        seen /= max(float(np.linalg.norm(seen)), TINY)
        squared = 1.0 - 2.0 * (vectors @ centre) + float(centre @ centre)  # |v - c|^2 for |v| = 1, without a copy of v
        cosines = (vectors @ seen - float(centre @ seen)) / np.sqrt(np.maximum(squared, TINY))
        return Similarities(self._rows, self._places, cosines)


class Similarities:
    """The cosines of one query, for the rows that were in the index when it was asked."""

    def __init__(self, rows: Sequence[int], places: Mapping[int, int], cosines: Floats) -> None:
        self._rows = rows
        self._places = places
        self._cosines = cosines

    def __len__(self) -> int:
        return len(self._cosines)

    def of(self, row: int) -> float | None:
        place = self._places.get(row)
        return float(self._cosines[place]) if place is not None and place < len(self) else None

    def nearest(self, count: int) -> list[int]:
        """The `count` rows of the highest cosines, highest first."""
        count = min(count, len(self))
        if count == 0:
            return []
        top = np.argpartition(-self._cosines, count - 1)[:count]
        return [self._rows[place] for place in top[np.argsort(-self._cosines[top], kind="stable")]]


def _floats(vector: bytes) -> Floats:
    return np.frombuffer(vector, "<f4")
