"""The Prometheus text format, checked with Prometheus' own parser."""

import re
from collections.abc import Iterable

import promtool
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from splootd.clock import Clock
from splootd.core.error_code import ErrorCode
from splootd.core.item import Priority, State
from splootd.metrics import MetricsCollector
from splootd.metrics.api_calls import ApiCalls
from splootd.metrics.exposition import CONTENT_TYPE, MetricFamily, counter, gauge, render_text
from splootd.metrics.families import MetricsSnapshot, build_families
from splootd.metrics.rss import RssSamples

UNITS = ("_seconds", "_bytes", "_info", "_items")
COUNTS = ("folders", "paused", "state", "channel", "flight", "concurrency", "max")


class FixedClock(Clock):
    def monotonic(self) -> float:
        return 1000.0


@pytest.fixture
def snapshot() -> MetricsSnapshot:
    traffic, calls = MetricsCollector(FixedClock()), ApiCalls()
    for number in range(200):
        calls.observe("check", "ok" if number % 2 else "unreachable", number / 10)
        traffic.upload_s.observe(number / 100)
        traffic.record_item(100)
    traffic.errors.update([ErrorCode.UNREACHABLE, ErrorCode.EMPTY, ErrorCode.EMPTY])
    return MetricsSnapshot(
        version='0.1 "dev" \\ \n',
        sqlite="3.40.1",
        started_at=1.5e9,
        now=1000.0,
        rss_bytes=50_000_000,
        rss=RssSamples(),
        metrics=traffic,
        calls=calls,
        items={(State.PENDING, Priority.URGENT): 3},
        delayed=1,
        duplicates=2,
        is_paused=True,
        server_state="ok",
        breaker="half_open",
        push="sse",
        folders={"watching": 2},
        throttled_s=1.25,
        concurrency=2,
        concurrency_max=3,
    )


def read(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_the_prometheus_parser_reads_the_measured_values(snapshot: MetricsSnapshot):
    samples = read(render_text(build_families(snapshot)))
    assert samples["sploot_queue_items", (("priority", "urgent"), ("state", "pending"))] == 3
    assert samples["sploot_api_requests_total", (("endpoint", "check"), ("outcome", "ok"))] == 100
    assert samples["sploot_api_request_duration_seconds_bucket", (("endpoint", "check"), ("le", "1"))] == 11
    assert samples["sploot_api_request_duration_seconds_count", (("endpoint", "check"),)] == 200
    assert samples["sploot_errors_total", (("code", "empty"),)] == 2
    assert samples["sploot_breaker_state", (("state", "half_open"),)] == 1
    assert samples["sploot_breaker_state", (("state", "closed"),)] == 0
    assert samples["sploot_memory_average_bytes", ()] == 50_000_000
    assert samples["sploot_build_info", (("sqlite", "3.40.1"), ("version", '0.1 "dev" \\ \n'))] == 1


def test_promtool_reports_no_problem(snapshot: MetricsSnapshot):
    promtool.check(render_text(build_families(snapshot)))


def test_every_family_has_a_valid_type_and_description(snapshot: MetricsSnapshot):
    read_families = list(text_string_to_metric_families(render_text(build_families(snapshot))))
    assert len({family.name for family in read_families}) == len(read_families) == len(build_families(snapshot))
    for family in read_families:
        assert family.type in ("counter", "gauge", "histogram"), family.name
        assert family.documentation.endswith("."), family.name


def test_names_follow_the_rules_of_openmetrics(snapshot: MetricsSnapshot):
    for family in build_families(snapshot):
        assert re.fullmatch(r"sploot_[a-z]+(_[a-z]+)*", family.name), family.name
        assert (family.kind == "counter") == family.name.endswith("_total"), family.name
        assert family.kind != "histogram" or family.name.endswith("_seconds"), family.name
        assert not re.search(r"_(ms|milliseconds|kb|mb|percent|count|sum|bucket)(_|$)", family.name), family.name
        if family.kind == "gauge":
            assert family.name.endswith(UNITS) or family.name.rpartition("_")[2] in COUNTS, family.name


def test_buckets_are_cumulative(snapshot: MetricsSnapshot):
    for family in (each for each in build_families(snapshot) if each.kind == "histogram"):
        for labels in {tuple((k, v) for k, v in sample[1].items() if k != "le") for sample in family.samples}:
            counts = [
                value
                for suffix, own, value in family.samples
                if suffix == "_bucket" and set(labels) <= set(own.items())
            ]
            (total,) = [
                value for suffix, own, value in family.samples if suffix == "_count" and labels == tuple(own.items())
            ]
            assert counts == sorted(counts), family.name
            assert counts[-1] == total, family.name


def test_the_number_of_series_is_bounded(snapshot: MetricsSnapshot):
    known = {"state", "priority", "endpoint", "outcome", "code", "channel", "le", "version", "sqlite"}
    for family in build_families(snapshot):
        for _, labels, _ in family.samples:
            assert set(labels) <= known, family.name
        assert len(family.samples) <= 13 * 10, family.name


@given(st.dictionaries(st.sampled_from(["a", "b"]), st.text(st.characters(exclude_categories=["Cs"])), min_size=1))
def test_any_label_value_survives_a_round_trip(labels: dict[str, str]):
    ((_, read_labels),) = read(render_text([gauge("x_items", "About.", [(labels, 1.0)])]))
    assert dict(read_labels) == labels


@pytest.mark.parametrize("value", [0.0, 3.0, 0.1, 1e-9, 1.7e18, float("inf")])
def test_any_number_survives_a_round_trip(value: float):
    assert list(read(render_text([counter("x_total", "About.", [({}, value)])])).values()) == [value]


def test_the_text_ends_with_a_newline_and_has_a_version():

    families: Iterable[MetricFamily] = [gauge("x_items", "One\nand \\ two.", [])]
    assert render_text(families) == "# HELP x_items One\\nand \\\\ two.\n# TYPE x_items gauge\n"
    assert "version=0.0.4" in CONTENT_TYPE
