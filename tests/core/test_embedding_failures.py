"""Embeddings that fail in a row."""

from splootd.core.embedding_failures import FAILURES_MAX, RETRY_DELAY_MAX_S, EmbeddingFailures


def test_five_failures_in_a_row_are_too_many_and_a_ready_embedding_between_them_starts_anew() -> None:
    failures = EmbeddingFailures()
    assert [failures.record_failed() for _ in range(FAILURES_MAX - 1)] == [False] * (FAILURES_MAX - 1)
    failures.record_ready()
    assert [failures.record_failed() for _ in range(FAILURES_MAX)] == [*[False] * (FAILURES_MAX - 1), True]


def test_the_first_probe_is_immediate_and_the_following_delays_double_up_to_an_hour() -> None:
    failures = EmbeddingFailures()
    delays = [failures.next_delay_s() for _ in range(12)]
    assert delays[:4] == [0.0, 60.0, 120.0, 240.0]
    assert delays[-1] == RETRY_DELAY_MAX_S
    failures.record_ready()
    assert failures.next_delay_s() == 0.0
