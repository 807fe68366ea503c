"""What holds everything up: each verdict from the measurements that call for it."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splootd.core.bottleneck import Cause, Measures, bottleneck

SENDING = Measures(pending=500, uploading=3, sending_hands=2.9, check_s=0.05, upload_s=1.0, bytes_per_s=300_000)
IDLE = replace(SENDING, sending_hands=0.5)

VERDICTS = [
    (Measures(), Cause.NOTHING_TO_DO, "nothing waits"),
    (replace(SENDING, paused=True), Cause.PAUSED, "500 files"),
    (Measures(embedding=3, paused=True), Cause.EMBEDDING, "making 3 files searchable"),
    (Measures(embedding=1, embedding_p50_s=2.5), Cause.EMBEDDING, "1 file searchable, which takes 2.5 s"),
    (replace(SENDING, embedding=900, lanes=1), Cause.EMBEDDING, "1 of 3 connections"),
    (replace(SENDING, server_state="signed_out"), Cause.SIGNED_OUT, "lets nothing in"),
    (replace(SENDING, server_state="rate_limited", retry_in_s=12.4), Cause.RATE_LIMITED, "tried again in 12 s"),
    (replace(SENDING, server_state="unreachable", server_detail="refused"), Cause.UNREACHABLE, "(refused)"),
    (replace(SENDING, held_for="this network is metered"), Cause.METERED, "because this network is metered"),
    (Measures(pending=7, delayed=7, delayed_until_s=4.0), Cause.DELAYED, "the first of them in 4 s"),
    (replace(SENDING, limit_bytes_per_s=500_000, held_hands=2.0), Cause.LIMIT, "500 kB/s"),
    (replace(SENDING, check_s=0.8), Cause.SERVER_LATENCY, "800 ms"),
    (replace(SENDING, limit_bytes_per_s=500_000, held_hands=0.1), Cause.SENDING, "300 kB/s"),
    (SENDING, Cause.SENDING, "1.0 s for a typical file"),
    (replace(SENDING, lanes=1, sending_hands=0.8), Cause.SENDING, "over 1 conn"),
    (replace(IDLE, reading_hands=12.0, writing_hands=1.0), Cause.READING, "12.0 lanes wait for the disk"),
    (replace(IDLE, reading_hands=1.0, writing_hands=9.0), Cause.STORE, "9.0 lanes"),
    (IDLE, Cause.NOT_SLOW, "idle 83% of the time"),
]


@pytest.mark.parametrize(("measures", "cause", "said"), VERDICTS, ids=[str(cause) for _, cause, _ in VERDICTS])
def test_the_bottleneck_is_named_with_its_numbers(measures: Measures, cause: Cause, said: str):
    found = bottleneck(measures)
    assert found.cause is cause
    assert said in found.because
    assert found.helps
    assert found.numbers or cause is Cause.NOTHING_TO_DO


def test_every_cause_can_be_found():
    assert {cause for _, cause, _ in VERDICTS} == set(Cause)


@given(
    st.builds(
        Measures,
        pending=st.integers(0, 9),
        uploading=st.integers(0, 3),
        embedding=st.integers(0, 999),
        sending_hands=st.floats(0, 16),
        reading_hands=st.floats(0, 16),
        writing_hands=st.floats(0, 16),
        held_hands=st.floats(0, 3),
        limit_bytes_per_s=st.none() | st.integers(32_000, 10**9),
        lanes=st.integers(1, 3),
        check_s=st.floats(0, 100),
        upload_s=st.floats(0, 100),
    )
)
def test_whatever_was_measured_there_is_an_answer(measures: Measures):
    found = bottleneck(measures)
    assert (found.cause is Cause.NOTHING_TO_DO) == (measures.pending + measures.uploading + measures.embedding == 0)
