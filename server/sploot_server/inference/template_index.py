"""Which templates does a picture show? Compares the features of a picture with those of all templates, or of another.

A descriptor of 256 bits is looked up by each of its 16-bit pieces: descriptors of the same place differ in few bits, so
some piece is equal, while other descriptors are never compared. Near descriptors vote for a template. The
templates with the most votes are verified by RANSAC (Fischler and Bolles, 1981): a meme is its template moved, scaled
and perhaps mirrored, so the places of true pairs agree on one such transformation, and those of chance pairs do not.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sploot_server.domain.template_features import DESCRIPTOR_BYTES, FEATURE_BYTES

PIECE_BITS = 16
PIECES = 10  # of the 16 of a descriptor: more find hardly more
BUCKET_MAX = 12  # a piece that more descriptors share says nothing
DISTANCE_MAX = 52  # bits of 256 in which descriptors of the same place differ
INLIERS_MIN = 8
TOLERANCE_PX = 4.0
SCALE_RANGE = (0.2, 4.0)
ROTATION_MAX = 0.2  # radians: memes stand upright
SAME_INLIERS_MIN = 20  # of two pictures that are compared with each other only
SPREAD_MIN_PX = 16.0  # standard deviation of the places: a logo or a face alone is no template
VERIFIED_MAX = 4  # templates with the most votes
PAIRS_MAX = 80  # per template, the nearest
HYPOTHESES_MAX = 400

Places = NDArray[np.complex128]
Descriptors = NDArray[np.uint8]


def pack_features(places: NDArray[np.float64], descriptors: Descriptors) -> bytes:
    """Return the stored form of features; `places` are pairs of x and y."""
    rounded = np.rint(places).astype("<u2").view(np.uint8).reshape(-1, FEATURE_BYTES - DESCRIPTOR_BYTES)
    return np.hstack((rounded, descriptors)).tobytes()


def unpack_features(features: bytes) -> tuple[Places, Descriptors]:
    """Return the places, as complex numbers, and the descriptors."""
    rows = np.frombuffer(features, np.uint8).reshape(-1, FEATURE_BYTES)
    places = np.ascontiguousarray(rows[:, : FEATURE_BYTES - DESCRIPTOR_BYTES]).view("<u2").astype(np.float64)
    return places[:, 0] + 1j * places[:, 1], np.ascontiguousarray(rows[:, FEATURE_BYTES - DESCRIPTOR_BYTES :])


class TemplateIndex:
    """The features of all pictures of templates. Immutable, so any thread may use it."""

    def __init__(self, pictures: Sequence[tuple[int, bytes]]) -> None:
        """Build the index from pairs of a template's number and the features of one of its pictures."""
        unpacked = [unpack_features(features) for _, features in pictures]
        self._templates = [template for template, _ in pictures]
        self._places = np.concatenate([places for places, _ in unpacked] or [np.empty(0, np.complex128)])
        self._descriptors = np.concatenate(
            [each for _, each in unpacked] or [np.empty((0, DESCRIPTOR_BYTES), np.uint8)]
        )
        self._picture_of = np.repeat(np.arange(len(unpacked)), [len(places) for places, _ in unpacked])
        pieces = self._descriptors.view(np.uint16)
        self._orders = [np.argsort(pieces[:, piece], kind="stable").astype(np.int32) for piece in range(PIECES)]
        self._sorted = [pieces[order, piece] for piece, order in enumerate(self._orders)]

    def find_templates(self, features: bytes) -> list[int]:
        """Return the numbers of the templates that a picture with these features shows, the surest first."""
        places, descriptors = unpack_features(features)
        own, theirs = self._find_near_pairs(descriptors)
        pictures = self._picture_of[theirs]
        # Of the pairs of an own feature with one picture, the nearest counts.
        _, nearest = np.unique(own * len(self._templates) + pictures, return_index=True)
        nearest.sort()
        own, theirs, pictures = own[nearest], theirs[nearest], pictures[nearest]
        votes = np.bincount(pictures, minlength=len(self._templates))
        found: dict[int, int] = {}  # the inliers by template
        for picture in np.argsort(-votes, kind="stable")[:VERIFIED_MAX].tolist():
            if votes[picture] < INLIERS_MIN:
                break
            chosen = np.flatnonzero(pictures == picture)[:PAIRS_MAX]
            inliers = count_inliers(self._places[theirs[chosen]], places[own[chosen]])
            if inliers >= INLIERS_MIN:
                template = self._templates[picture]
                found[template] = max(inliers, found.get(template, 0))
        return sorted(found, key=lambda template: -found[template])

    def _find_near_pairs(self, descriptors: Descriptors) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Return the near pairs of an own and an indexed feature, the nearest first; some more than once."""
        pieces = descriptors.view(np.uint16)
        found: list[tuple[NDArray[np.int64], NDArray[np.int32]]] = []
        for piece, (values, order) in enumerate(zip(self._sorted, self._orders, strict=True)):
            first = np.searchsorted(values, pieces[:, piece], "left")
            counts = np.searchsorted(values, pieces[:, piece], "right") - first
            counts[counts > BUCKET_MAX] = 0
            own = np.repeat(np.arange(len(descriptors)), counts)
            ends = np.cumsum(counts)
            position = np.arange(len(own)) - np.repeat(ends - counts, counts) + np.repeat(first, counts)
            found.append((own, order[position]))
        own, theirs = (np.concatenate(each) for each in zip(*found, strict=True))
        differing = descriptors.view(np.uint64)[own] ^ self._descriptors.view(np.uint64)[theirs]
        distances = np.bitwise_count(differing).sum(axis=1, dtype=np.int16)
        near = np.flatnonzero(distances <= DISTANCE_MAX)
        near = near[np.argsort(distances[near], kind="stable")]
        return own[near], theirs[near]


def show_same_picture(one: bytes, other: bytes) -> bool:
    """Return whether two pictures with these features are the same, perhaps cropped or with something added."""
    (places, descriptors), (other_places, other_descriptors) = unpack_features(one), unpack_features(other)
    differing = descriptors.view(np.uint64)[:, None] ^ other_descriptors.view(np.uint64)[None, :]
    distances = np.bitwise_count(differing).sum(axis=2, dtype=np.int16)
    if not distances.size:
        return False
    nearest = distances.argmin(axis=1)
    nearest_distances = distances[np.arange(len(nearest)), nearest]
    chosen = np.argsort(nearest_distances, kind="stable")[:PAIRS_MAX]
    chosen = chosen[nearest_distances[chosen] <= DISTANCE_MAX]
    return count_inliers(other_places[nearest[chosen]], places[chosen]) >= SAME_INLIERS_MIN


def count_inliers(sources: Places, targets: Places) -> int:
    """Return how many pairs of places agree on one shift and scale, at most one pair per place.

    A shift, scale and rotation of the plane is `target = factor * source + offset` in complex numbers, which two pairs
    determine.
    """
    first, second = _choose_hypotheses(len(sources))
    distance = sources[first] - sources[second]
    usable = np.abs(distance) > SPREAD_MIN_PX
    first, distance = first[usable], distance[usable]
    factors = (targets[first] - targets[second[usable]]) / distance
    plausible = (
        (np.abs(factors) > SCALE_RANGE[0])
        & (np.abs(factors) < SCALE_RANGE[1])
        & (np.abs(np.angle(factors)) < ROTATION_MAX)
    )
    factors, first = factors[plausible], first[plausible]
    if not len(factors):
        return 0
    offsets = targets[first] - factors * sources[first]
    errors = np.abs(factors[:, None] * sources[None, :] + offsets[:, None] - targets[None, :])
    agree = errors < TOLERANCE_PX
    best = agree[agree.sum(axis=1).argmax()]
    if np.std(targets[best]) < SPREAD_MIN_PX or np.std(sources[best]) < SPREAD_MIN_PX:
        return 0
    # The same place has features on several scales: they count once.
    cells = np.rint(np.column_stack((targets[best].real, targets[best].imag)) / TOLERANCE_PX)
    source_cells = np.rint(np.column_stack((sources[best].real, sources[best].imag)) / TOLERANCE_PX)
    return min(len(np.unique(cells, axis=0)), len(np.unique(source_cells, axis=0)))


def _choose_hypotheses(count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the indices of up to HYPOTHESES_MAX pairs of pairs; those of the nearest descriptors come first."""
    second, first = np.tril_indices(count, -1)
    return first[:HYPOTHESES_MAX], second[:HYPOTHESES_MAX]
