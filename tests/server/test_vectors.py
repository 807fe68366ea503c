import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from sploot_server.vectors import CAPACITY_MIN, CENTRE_WEIGHT, VectorIndex

DIM = 16


def unit(rng: np.random.Generator, count: int) -> np.ndarray:
    cone = rng.normal(size=(count, DIM)) + 3.0
    return (cone / np.linalg.norm(cone, axis=1, keepdims=True)).astype("<f4")


@given(st.integers(0, 2**32), st.integers(1, 40), st.integers(1, 5))
def test_similarity_is_the_cosine_seen_from_the_centre(seed: int, count: int, batches: int) -> None:
    rng = np.random.default_rng(seed)
    vectors, query, prior = unit(rng, count), unit(rng, 1)[0], unit(rng, 1)[0]
    index = VectorIndex(prior.tobytes())
    for batch in np.array_split(np.arange(count), batches):
        if len(batch):
            index.add([int(row) + 7 for row in batch], [vectors[row].tobytes() for row in batch])
    centre = (CENTRE_WEIGHT * prior + vectors.sum(axis=0)) / (CENTRE_WEIGHT + count)
    seen, from_there = vectors - centre, query - centre
    expected = seen @ from_there / np.linalg.norm(seen, axis=1) / np.linalg.norm(from_there)

    similar = index.similarities(query.tobytes())

    np.testing.assert_allclose([similar.of(row + 7) for row in range(count)], expected, atol=1e-3)
    assert similar.nearest(3) == sorted((row + 7 for row in range(count)), key=similar.of, reverse=True)[:3]


def test_the_index_grows() -> None:
    rng = np.random.default_rng(1)
    vectors = unit(rng, 3 * CAPACITY_MIN)
    index = VectorIndex(vectors[0].tobytes())
    index.add(list(range(len(vectors))), [vector.tobytes() for vector in vectors])
    assert index.similarities(vectors[2500].tobytes()).nearest(1) == [2500]


def test_what_comes_later_does_not_disturb_a_search_under_way() -> None:
    rng = np.random.default_rng(1)
    vectors = unit(rng, 2)
    index = VectorIndex(vectors[0].tobytes())
    index.add([1], [vectors[0].tobytes()])
    similar = index.similarities(vectors[1].tobytes())
    index.add([2], [vectors[1].tobytes()])
    assert (len(similar), similar.nearest(9), similar.of(2)) == (1, [1], None)


def test_an_empty_index_knows_nothing() -> None:
    similar = VectorIndex(b"\0\0\x80?" * DIM).similarities(b"\0\0\0?" * DIM)
    assert (similar.nearest(5), similar.of(1)) == ([], None)
