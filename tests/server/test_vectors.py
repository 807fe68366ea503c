import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sploot_server.vectors import CAPACITY_MIN, SignIndex, inner_products

DIM = 96


def unit(rng: np.random.Generator, count: int, dim: int = DIM) -> np.ndarray:
    vectors = rng.normal(size=(count, dim))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype("<f4")


def index_of(vectors: np.ndarray) -> SignIndex:
    index = SignIndex(vectors.shape[1])
    index.add(range(len(vectors)), [vector.tobytes() for vector in vectors])
    return index


@given(st.integers(0, 2**32), st.integers(2, 40), st.integers(1, 130))
def test_those_are_near_whose_signs_fit_the_query_best(seed: int, count: int, dim: int) -> None:
    rng = np.random.default_rng(seed)
    vectors, query = unit(rng, count, dim), unit(rng, 1, dim)[0]
    fit = np.where(vectors > 0, query, -query).sum(axis=1)
    near = index_of(vectors).nearest(query.tobytes(), count // 2)
    assert len(set(near)) == count // 2
    assert sorted(fit[near], reverse=True) == pytest.approx(sorted(fit, reverse=True)[: count // 2], abs=1e-5)


def test_of_clustered_vectors_hardly_one_among_the_nearest_is_missed() -> None:
    rng = np.random.default_rng(7)
    clusters = unit(rng, 200, 768)
    vectors = clusters[rng.integers(0, 200, 8_000)] + unit(rng, 8_000, 768)
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype("<f4")
    index, found = index_of(vectors), 0
    for query in vectors[:20]:
        nearest = set(np.argsort(-(vectors @ query))[:10].tolist())
        found += len(nearest & set(index.nearest(query.tobytes(), 300)))
    assert found >= 0.99 * 200


def test_a_query_is_compared_by_the_half_in_which_it_says_something() -> None:
    """As one of two models does not know its language. Else all that lack the same half would be before all others."""
    rng = np.random.default_rng(5)
    vectors = unit(rng, 4_000, 128)
    vectors[1::2, 64:] = 0
    query = vectors[0] * np.repeat([1, 0], 64).astype("<f4")
    assert 0 in index_of(vectors).nearest(query.tobytes(), 20)


def test_only_the_wanted_are_looked_at() -> None:
    vectors = unit(np.random.default_rng(1), 50)
    assert set(index_of(vectors).nearest(vectors[3].tobytes(), 2, among=[7, 9, 999])) == {7, 9}


def test_the_index_grows() -> None:
    vectors = unit(np.random.default_rng(1), 3 * CAPACITY_MIN)
    index = index_of(vectors)
    assert len(index) == 3 * CAPACITY_MIN
    assert index.nearest(vectors[2500].tobytes(), 1) == [2500]


def test_an_empty_index_knows_nothing() -> None:
    assert SignIndex(DIM).nearest(bytes(4 * DIM), 5) == []


def test_products_are_exact_and_none_where_there_is_no_vector() -> None:
    vectors = unit(np.random.default_rng(1), 3)
    products = inner_products(vectors[0].tobytes(), [vectors[1].tobytes(), None, vectors[0].tobytes()])
    assert products[1] is None
    assert [products[0], products[2]] == pytest.approx([float(vectors[0] @ vectors[1]), 1.0], abs=1e-6)
    assert inner_products(vectors[0].tobytes(), [None]) == [None]
