from splootd.clock import Clock
from splootd.metrics import WINDOW_S, Traffic


class Still(Clock):
    at = 1000.0

    def monotonic(self) -> float:
        return self.at


def test_rates_are_of_the_last_seconds() -> None:
    clock = Still()
    traffic = Traffic(clock)
    for _ in range(2 * WINDOW_S):
        clock.at += 1
        for _ in range(3):
            traffic.record(100)
    assert (traffic.items_per_s, traffic.bytes_per_s) == (3, 300)
    clock.at += WINDOW_S
    assert (traffic.items_per_s, traffic.bytes_per_s) == (0, 0)


def test_a_start_is_not_slow_because_it_is_young() -> None:
    clock = Still()
    traffic = Traffic(clock)
    clock.at += 1000
    traffic.record(50)
    assert (traffic.items_per_s, traffic.bytes_per_s) == (1, 50)


def test_transfers_are_shown_while_they_are_under_way() -> None:
    traffic = Traffic(Still())
    with traffic.transfer(b"/a", 10) as one, traffic.transfer(b"/a", 10) as other:
        other.progress(7)
        assert traffic.transfers == (one, other)
        assert [each.sent for each in traffic.transfers] == [0, 7]
    assert traffic.transfers == ()
