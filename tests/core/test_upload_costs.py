"""A lookup by hash is asked only where it saves more time than it takes."""

import pytest

from splootd.core.upload_costs import UploadCosts, worth_checking

KB, MB = 1_000, 1_000_000


@pytest.mark.parametrize(
    ("size", "rtt_s", "bytes_per_s", "duplicate_share", "is_worth"),
    [
        (30 * KB, 0.05, MB, 0.05, False),  # a small file far away: 409 says the same
        (10 * MB, 0.05, MB, 0.05, True),  # ten seconds of sending for a twentieth of the contents
        (10 * MB, 0.05, 100 * MB, 0.05, False),  # a fast line
        (200 * KB, 0.05, MB, 0.9, True),  # a folder that the library has already
        (30 * KB, 0.05, MB, 0.9, False),
        (10 * MB, 0.05, MB, 0.0, False),  # nothing was ever found
    ],
)
def test_a_lookup_pays_if_it_saves_more_than_a_round_trip(
    size: int, rtt_s: float, bytes_per_s: float, duplicate_share: float, is_worth: bool
) -> None:
    assert worth_checking(size, rtt_s, bytes_per_s, duplicate_share) is is_worth


def test_the_averages_follow_the_server() -> None:
    costs = UploadCosts()
    for _ in range(100):
        costs.record_round_trip(0.2)
        costs.record_content(is_duplicate=True)
        costs.record_upload(500 * KB, 0.2 + 0.25)
    assert costs.rtt_s == pytest.approx(0.2, rel=0.1)
    assert costs.bytes_per_s == pytest.approx(2 * MB, rel=0.1)
    assert costs.duplicate_share > 0.9
    assert costs.worth_checking(MB)
    assert not costs.worth_checking(100 * KB)


def test_an_upload_is_long_if_a_control_request_would_wait_seconds_for_it() -> None:
    costs = UploadCosts()
    assert not costs.is_long(2 * MB)
    assert costs.is_long(6 * MB)
