"""The text that Prometheus reads, as its own parser reads it."""

import re
from collections.abc import Iterable

import promtool
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from splootd.clock import Clock
from splootd.core.fault import Fault
from splootd.core.item import Priority, State
from splootd.metrics import Traffic
from splootd.metrics.calls import Calls
from splootd.metrics.exposition import CONTENT_TYPE, Family, counter, gauge, text
from splootd.metrics.families import Measured, families
from splootd.metrics.memory import Memory

UNITS = ("_seconds", "_bytes", "_info", "_items")
COUNTS = ("folders", "paused", "state", "channel", "flight", "lanes", "max")


class Still(Clock):
    def monotonic(self) -> float:
        return 1000.0


@pytest.fixture
def measured() -> Measured:
    traffic, calls = Traffic(Still()), Calls()
    for number in range(200):
        calls.observe("check", "ok" if number % 2 else "unreachable", number / 10)
        traffic.upload_s.observe(number / 100)
        traffic.record(100)
    traffic.faults.update([Fault.UNREACHABLE, Fault.EMPTY, Fault.EMPTY])
    return Measured(
        version='0.1 "dev" \\ \n',
        sqlite="3.40.1",
        started_at=1.5e9,
        now=1000.0,
        rss_bytes=50_000_000,
        memory=Memory(),
        traffic=traffic,
        calls=calls,
        items={(State.PENDING, Priority.URGENT): 3},
        delayed=1,
        duplicates=2,
        paused=True,
        server_state="ok",
        breaker="half_open",
        push="sse",
        folders={"watching": 2},
        throttled_s=1.25,
        lanes=2,
        lanes_max=3,
    )


def read(told: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(told)
        for sample in family.samples
    }


def test_the_parser_of_prometheus_reads_what_was_measured(measured: Measured):
    samples = read(text(families(measured)))
    assert samples["sploot_queue_items", (("priority", "urgent"), ("state", "pending"))] == 3
    assert samples["sploot_api_requests_total", (("call", "check"), ("outcome", "ok"))] == 100
    assert samples["sploot_api_request_duration_seconds_bucket", (("call", "check"), ("le", "1"))] == 11
    assert samples["sploot_api_request_duration_seconds_count", (("call", "check"),)] == 200
    assert samples["sploot_faults_total", (("fault", "empty"),)] == 2
    assert samples["sploot_breaker_state", (("state", "half_open"),)] == 1
    assert samples["sploot_breaker_state", (("state", "closed"),)] == 0
    assert samples["sploot_memory_average_bytes", ()] == 50_000_000
    assert samples["sploot_build_info", (("sqlite", "3.40.1"), ("version", '0.1 "dev" \\ \n'))] == 1


def test_prometheus_itself_finds_nothing_to_complain_about(measured: Measured):
    promtool.check(text(families(measured)))


def test_every_kind_is_what_it_is_said_to_be(measured: Measured):
    read_families = list(text_string_to_metric_families(text(families(measured))))
    assert len({family.name for family in read_families}) == len(read_families) == len(families(measured))
    for family in read_families:
        assert family.type in ("counter", "gauge", "histogram"), family.name
        assert family.documentation.endswith("."), family.name


def test_names_follow_the_rules_of_openmetrics(measured: Measured):
    for family in families(measured):
        assert re.fullmatch(r"sploot_[a-z]+(_[a-z]+)*", family.name), family.name
        assert (family.kind == "counter") == family.name.endswith("_total"), family.name
        assert family.kind != "histogram" or family.name.endswith("_seconds"), family.name
        assert not re.search(r"_(ms|milliseconds|kb|mb|percent|count|sum|bucket)(_|$)", family.name), family.name
        if family.kind == "gauge":
            assert family.name.endswith(UNITS) or family.name.rpartition("_")[2] in COUNTS, family.name


def test_buckets_never_fall_and_end_with_everything(measured: Measured):
    for family in (each for each in families(measured) if each.kind == "histogram"):
        for labels in {tuple((k, v) for k, v in sample[1].items() if k != "le") for sample in family.samples}:
            counts = [
                value
                for ending, own, value in family.samples
                if ending == "_bucket" and set(labels) <= set(own.items())
            ]
            (total,) = [
                value for ending, own, value in family.samples if ending == "_count" and labels == tuple(own.items())
            ]
            assert counts == sorted(counts), family.name
            assert counts[-1] == total, family.name


def test_labels_hold_only_words_from_short_lists(measured: Measured):
    known = {"state", "priority", "call", "outcome", "fault", "channel", "le", "version", "sqlite"}
    for family in families(measured):
        for _, labels, _ in family.samples:
            assert set(labels) <= known, family.name
        assert len(family.samples) <= 13 * 10, family.name


@given(st.dictionaries(st.sampled_from(["a", "b"]), st.text(st.characters(exclude_categories=["Cs"])), min_size=1))
def test_any_label_comes_back_as_it_was(labels: dict[str, str]):
    ((_, read_labels),) = read(text([gauge("x_items", "About.", [(labels, 1.0)])]))
    assert dict(read_labels) == labels


@pytest.mark.parametrize("value", [0.0, 3.0, 0.1, 1e-9, 1.7e18, float("inf")])
def test_any_number_comes_back_as_it_was(value: float):
    assert list(read(text([counter("x_total", "About.", [({}, value)])])).values()) == [value]


def test_the_text_ends_with_a_line_and_says_its_format():
    told: Iterable[Family] = [gauge("x_items", "One\nand \\ two.", [])]
    assert text(told) == "# HELP x_items One\\nand \\\\ two.\n# TYPE x_items gauge\n"
    assert "version=0.0.4" in CONTENT_TYPE
