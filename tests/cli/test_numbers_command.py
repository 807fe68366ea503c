"""`sploot metrics` and `sploot why --slow`, as a user runs them."""

from collections.abc import Iterator

import pytest
from homes import Home, home_in
from prometheus_client.parser import text_string_to_metric_families
from sploot import render

from splootd.protocol import Slow

NOBODY = "http://127.0.0.1:1"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    with home_in(tmp_path_factory.mktemp("home"), SPLOOT_SERVER=NOBODY) as home:
        yield home


def test_metrics_are_text_for_prometheus_and_a_report_as_json(home: Home):
    families = {family.name for family in text_string_to_metric_families(home.ok("metrics"))}
    assert {"sploot_build_info", "sploot_queue_items", "sploot_api_request_duration_seconds"} <= families
    assert set(home.json("metrics")) == {"uploads", "calls", "memory", "errors", "urgent_wait", "embedding"}


def test_why_it_is_slow_is_said_to_people_and_scripts(home: Home):
    assert "nothing waits" in home.ok("why", "--slow")
    assert home.json("why", "--slow")["cause"] == "nothing_to_do"


def test_why_wants_a_file_or_slow_and_not_both(home: Home):
    assert home.run("why").returncode == 2
    assert home.run("why", "a.png", "--slow").returncode == 2


def test_numbers_are_shown_as_people_write_them():
    lines = render.slow(Slow("sending", "sending itself", "a faster line", {"lanes": 3, "bytes_per_s": 1234567.891}))
    assert lines == ["because  sending itself", "helps    a faster line", "numbers  lanes 3, bytes_per_s 1,234,567.891"]
