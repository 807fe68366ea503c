"""The binary vector index, compared with exact computations."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sploot_server.storage.vector_index import CAPACITY_MIN, BinaryVectorIndex, cosine_similarities

DIM = 96


def unit(rng: np.random.Generator, count: int, dim: int = DIM) -> np.ndarray:
    vectors = rng.normal(size=(count, dim))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype("<f4")


def index_of(vectors: np.ndarray) -> BinaryVectorIndex:
    index = BinaryVectorIndex(vectors.shape[1])
    index.add(range(len(vectors)), [vector.tobytes() for vector in vectors])
    return index


@given(st.integers(0, 2**32), st.integers(2, 40), st.integers(1, 130))
def test_the_index_returns_the_vectors_with_the_best_asymmetric_product(seed: int, count: int, dim: int) -> None:
    rng = np.random.default_rng(seed)
    vectors, query = unit(rng, count, dim), unit(rng, 1, dim)[0]
    products = np.where(vectors > 0, query, -query).sum(axis=1)
    nearest = index_of(vectors).nearest(query.tobytes(), count // 2)
    assert len(set(nearest)) == count // 2
    assert sorted(products[nearest], reverse=True) == pytest.approx(
        sorted(products, reverse=True)[: count // 2], abs=1e-5
    )


def test_the_recall_on_clustered_vectors_is_99_percent() -> None:
    rng = np.random.default_rng(7)
    clusters = unit(rng, 200, 768)
    vectors = clusters[rng.integers(0, 200, 8_000)] + unit(rng, 8_000, 768)
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype("<f4")
    index, found = index_of(vectors), 0
    for query in vectors[:20]:
        nearest = set(np.argsort(-(vectors @ query))[:10].tolist())
        found += len(nearest & set(index.nearest(query.tobytes(), 300)))
    assert found >= 0.99 * 200


def test_a_query_is_compared_in_its_nonzero_half_only() -> None:
    """One of two models does not know its language. Otherwise, all vectors without that half would precede others."""
    rng = np.random.default_rng(5)
    vectors = unit(rng, 4_000, 128)
    vectors[1::2, 64:] = 0
    query = vectors[0] * np.repeat([1, 0], 64).astype("<f4")
    assert 0 in index_of(vectors).nearest(query.tobytes(), 20)


def test_only_allowed_rows_are_returned() -> None:
    vectors = unit(np.random.default_rng(1), 50)
    assert set(index_of(vectors).nearest(vectors[3].tobytes(), 2, allowed_rows=[7, 9, 999])) == {7, 9}


def test_the_index_grows() -> None:
    vectors = unit(np.random.default_rng(1), 3 * CAPACITY_MIN)
    index = index_of(vectors)
    assert len(index) == 3 * CAPACITY_MIN
    assert index.nearest(vectors[2500].tobytes(), 1) == [2500]


def test_an_empty_index_returns_nothing() -> None:
    assert BinaryVectorIndex(DIM).nearest(bytes(4 * DIM), 5) == []


def test_cosines_are_exact_and_none_for_missing_vectors() -> None:
    vectors = unit(np.random.default_rng(1), 3)
    products = cosine_similarities(vectors[0].tobytes(), [vectors[1].tobytes(), None, vectors[0].tobytes()])
    assert products[1] is None
    assert [products[0], products[2]] == pytest.approx([float(vectors[0] @ vectors[1]), 1.0], abs=1e-6)
    assert cosine_similarities(vectors[0].tobytes(), [None]) == [None]
