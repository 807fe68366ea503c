"""Each diagnosis follows from its measurements."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splootd.core.bottleneck import Bottleneck, Measurements, find_bottleneck

SENDING = Measurements(pending=500, uploading=3, sending_workers=2.9, check_s=0.05, upload_s=1.0, bytes_per_s=300_000)
IDLE = replace(SENDING, sending_workers=0.5)

DIAGNOSES = [
    (Measurements(), Bottleneck.NOTHING_TO_DO, "the queue is empty"),
    (replace(SENDING, is_paused=True), Bottleneck.PAUSED, "500 files waiting"),
    (Measurements(embedding=3, is_paused=True), Bottleneck.EMBEDDING, "processing 3 files"),
    (Measurements(embedding=1, embedding_p50_s=2.5), Bottleneck.EMBEDDING, "processing 1 file, 2.5 s"),
    (replace(SENDING, embedding=900, concurrency=1), Bottleneck.EMBEDDING, "1 of 3 connections"),
    (replace(SENDING, server_state="signed_out"), Bottleneck.SIGNED_OUT, "signed out"),
    (replace(SENDING, server_state="rate_limited", retry_in_s=12.4), Bottleneck.RATE_LIMITED, "next attempt in 12 s"),
    (replace(SENDING, full_disk=("the disk is full", "df -h /")), Bottleneck.DISK_FULL, "the disk is full"),
    (
        replace(SENDING, server_state="embeddings_fail", server_detail="5 embeddings failed"),
        Bottleneck.EMBEDDINGS_FAIL,
        "wait for the server (5 embeddings failed)",
    ),
    (replace(SENDING, server_state="full", server_detail="no room"), Bottleneck.LIBRARY_FULL, "uploads wait (no room)"),
    (replace(SENDING, server_state="starting"), Bottleneck.STARTING, "the local server is starting"),
    (replace(SENDING, server_state="silent", server_detail="12 s"), Bottleneck.SILENT, "does not respond (12 s)"),
    (replace(SENDING, server_state="degraded", retry_in_s=3.0), Bottleneck.DEGRADED, "fails on some files; next"),
    (replace(SENDING, server_state="unreachable", server_detail="refused"), Bottleneck.UNREACHABLE, "(refused)"),
    (
        replace(SENDING, suspend_reason="this network is metered"),
        Bottleneck.METERED,
        "uploads are suspended: this network is metered",
    ),
    (Measurements(pending=7, delayed=7, delayed_until_s=4.0), Bottleneck.DELAYED, "the first in 4 s"),
    (replace(SENDING, limit_bytes_per_s=500_000, throttled_workers=2.0), Bottleneck.BANDWIDTH_LIMIT, "500 kB/s"),
    (replace(SENDING, check_s=0.8), Bottleneck.SERVER_LATENCY, "800 ms"),
    (replace(SENDING, limit_bytes_per_s=500_000, throttled_workers=0.1), Bottleneck.SENDING, "300 kB/s"),
    (SENDING, Bottleneck.SENDING, "1.0 s for a typical file"),
    (replace(SENDING, concurrency=1, sending_workers=0.8), Bottleneck.SENDING, "over 1 conn"),
    (replace(IDLE, reading_workers=12.0, writing_workers=1.0), Bottleneck.READING, "12.0 workers wait for the disk"),
    (replace(IDLE, reading_workers=1.0, writing_workers=9.0), Bottleneck.STORE, "9.0 workers"),
    (IDLE, Bottleneck.NOT_SLOW, "idle 83% of the time"),
]


@pytest.mark.parametrize(("measurements", "code", "text"), DIAGNOSES, ids=[str(code) for _, code, _ in DIAGNOSES])
def test_measurements_lead_to_a_diagnosis_with_numbers(measurements: Measurements, code: Bottleneck, text: str):
    diagnosis = find_bottleneck(measurements)
    assert diagnosis.code is code
    assert text in diagnosis.cause
    assert diagnosis.suggestion
    assert diagnosis.numbers or code is Bottleneck.NOTHING_TO_DO


def test_every_code_has_a_case():
    assert {code for _, code, _ in DIAGNOSES} == set(Bottleneck)


@given(
    st.builds(
        Measurements,
        pending=st.integers(0, 9),
        uploading=st.integers(0, 3),
        embedding=st.integers(0, 999),
        sending_workers=st.floats(0, 16),
        reading_workers=st.floats(0, 16),
        writing_workers=st.floats(0, 16),
        throttled_workers=st.floats(0, 3),
        limit_bytes_per_s=st.none() | st.integers(32_000, 10**9),
        concurrency=st.integers(1, 3),
        check_s=st.floats(0, 100),
        upload_s=st.floats(0, 100),
    )
)
def test_any_measurements_have_a_diagnosis(measurements: Measurements):
    diagnosis = find_bottleneck(measurements)
    assert (diagnosis.code is Bottleneck.NOTHING_TO_DO) == (
        measurements.pending + measurements.uploading + measurements.embedding == 0
    )
