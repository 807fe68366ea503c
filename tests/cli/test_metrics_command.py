"""`sploot metrics` and `sploot why --slow` as processes."""

from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sploot import render
from temp_home import Home, home_in

from splootd.protocol import Bottleneck

UNREACHABLE = "http://127.0.0.1:1"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    with home_in(tmp_path_factory.mktemp("home"), SPLOOT_SERVER=UNREACHABLE) as home:
        yield home


def test_metrics_are_text_for_prometheus_and_a_report_as_json(home: Home):
    families = {family.name for family in text_string_to_metric_families(home.ok("metrics"))}
    assert {"sploot_build_info", "sploot_queue_items", "sploot_api_request_duration_seconds"} <= families
    assert set(home.json("metrics")) == {"uploads", "calls", "memory", "errors", "urgent_queue_latency", "embedding"}


def test_the_bottleneck_is_printed_for_people_and_scripts(home: Home):
    assert "the queue is empty" in home.ok("why", "--slow")
    assert home.json("why", "--slow")["code"] == "nothing_to_do"


def test_why_takes_either_a_file_or_slow(home: Home):
    assert home.run("why").returncode == 2
    assert home.run("why", "a.png", "--slow").returncode == 2


def test_measurements_are_formatted_for_people():
    lines = render.render_bottleneck(
        Bottleneck("sending", "sending itself", "a faster line", {"concurrency": 3, "bytes_per_s": 1234567.891})
    )
    assert lines == [
        "cause    sending itself",
        "advice   a faster line",
        "numbers  concurrency 3, bytes_per_s 1,234,567.891",
    ]
