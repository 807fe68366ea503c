"""The values that are told what happens: load, calls, waits, memory, transfers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splootd.clock import Clock
from splootd.core.item import Item, Priority, State, Version
from splootd.metrics import Traffic
from splootd.metrics.calls import RECENT, Calls
from splootd.metrics.load import LOAD_WINDOW_S, Load
from splootd.metrics.memory import MEMORY_WINDOW_S, Memory
from splootd.metrics.waits import WISHES_MAX, Waits


class Still(Clock):
    at = 1000.0

    def monotonic(self) -> float:
        return self.at

    def now(self) -> float:
        return self.at


def item(number: int, *, priority: Priority = Priority.URGENT, added_at: float = 0.0, fault: str | None = None) -> Item:
    version = Version(1, 1, 1, 1)
    return Item(
        number, b"/a", version, State.UPLOADING, priority, 0, added_at, 0.0, None, 0, None, None, False, fault, None,
        None, (), False,
    )  # fmt: skip


def test_load_is_the_average_number_of_hands():
    clock = Still()
    load = Load(clock)
    with load.at("sending"):
        clock.at += 5
        with load.at("sending"):
            clock.at += 5
    assert load.hands("sending") == pytest.approx(1.5)
    assert load.hands("reading") == 0


@given(st.lists(st.tuples(st.floats(0, 30), st.floats(0.01, 30)), min_size=1, max_size=30))
def test_one_pair_of_hands_is_never_more_than_one(spans: list[tuple[float, float]]):
    clock = Still()
    load = Load(clock)
    for pause_s, work_s in spans:
        clock.at += pause_s
        with load.at("sending"):
            clock.at += work_s
        assert 0 <= load.hands("sending") <= 1 + 1e-6


def test_load_of_what_is_still_under_way_counts():
    clock = Still()
    load = Load(clock)
    with load.at("sending"):
        clock.at += 3 * LOAD_WINDOW_S
        assert load.hands("sending") == pytest.approx(1)


def test_load_is_forgotten_after_the_window():
    clock = Still()
    load = Load(clock)
    with load.at("sending"):
        clock.at += 5
    clock.at += LOAD_WINDOW_S + 1
    assert load.hands("sending") == 0


def test_a_block_that_fails_leaves_no_hand_behind():
    clock = Still()
    load = Load(clock)
    with pytest.raises(KeyError), load.at("sending"):
        raise KeyError
    clock.at += 5
    assert load.hands("sending") == 0


def test_calls_are_counted_by_name_and_outcome():
    calls = Calls()
    for outcome in ("ok", "ok", "unreachable"):
        calls.observe("check", outcome, 0.2)
    call = calls["check"]
    assert (call.seconds.count, call.errors, dict(call.outcomes)) == (3, 1, {"ok": 2, "unreachable": 1})
    assert list(calls.by_name) == ["check"]


def test_what_is_typical_is_of_the_last_calls():
    calls = Calls()
    for _ in range(1000):
        calls.observe("check", "ok", 9.0)
    for _ in range(RECENT):
        calls.observe("check", "ok", 0.1)
    assert calls["check"].typical_s == 0.1
    assert calls.typical_s("check") == 0.1
    assert calls.typical_s("upload") == 0
    assert set(calls.by_name) == {"check"}, "whoever asks adds no series"


def test_an_urgent_item_waits_from_its_add_to_its_claim():
    waits = Waits(started_at=100.0)
    waits.claimed(item(1, added_at=100.0), now=100.5)
    assert (waits.seconds.count, waits.seconds.sum) == (1, 0.5)


def test_a_bumped_item_waits_from_the_bump_and_is_measured_once():
    waits = Waits(started_at=100.0)
    waits.asked([1], now=200.0)
    waits.claimed(item(1, fault="unreachable"), now=201.0)
    waits.claimed(item(1, fault="unreachable"), now=300.0)
    assert (waits.seconds.count, waits.seconds.sum) == (1, 1.0)


@pytest.mark.parametrize(
    "other",
    [
        item(1, added_at=150.0, priority=Priority.NORMAL),
        item(1, added_at=150.0, fault="unreachable"),
        item(1, added_at=50.0),
    ],
    ids=["normal", "second try", "from before this run"],
)
def test_nobody_waits_for_other_items(other: Item):
    waits = Waits(started_at=100.0)
    waits.claimed(other, now=200.0)
    assert waits.seconds.count == 0


def test_wishes_that_nobody_fulfils_do_not_pile_up():
    waits = Waits(started_at=0.0)
    waits.asked(range(WISHES_MAX + 10), now=1.0)
    waits.claimed(item(0, added_at=-1.0), now=2.0)
    waits.claimed(item(WISHES_MAX + 9, added_at=-1.0), now=2.0)
    assert waits.seconds.count == 1


def test_memory_is_remembered_for_five_minutes():
    memory = Memory()
    for at, rss_bytes in ((0.0, 900), (200.0, 100), (250.0, 300)):
        memory.observe(rss_bytes, at)
    assert (memory.peak_bytes(250.0), memory.average_bytes(250.0)) == (900, 433)
    assert (memory.peak_bytes(MEMORY_WINDOW_S + 1), memory.average_bytes(MEMORY_WINDOW_S + 1)) == (300, 200)
    assert Memory().average_bytes(0.0) == 0


def test_an_upload_that_has_ended_is_in_the_report():
    clock = Still()
    traffic = Traffic(clock)
    with traffic.transfer(b"/a", 10, retries=2) as transfer:
        for sent in (4, 10, 10):
            transfer.progress(sent)
        clock.at += 2
    (ended,) = traffic.ended
    assert (ended.pieces, ended.retries, ended.took_s, ended.bytes_per_s) == (2, 2, 2.0, 5.0)
    assert (traffic.bytes, traffic.pieces, traffic.retries, traffic.upload_s.count) == (10, 2, 1, 1)


def test_what_the_library_had_already_is_no_upload():
    traffic = Traffic(Still())
    with traffic.transfer(b"/a", 10):
        pass
    assert (len(traffic.ended), traffic.upload_s.count) == (0, 0)
