"""The alert rules and the dashboard name metrics that a server really has, and Prometheus reads the rules."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import httpx
import postgres
import pytest
import s3
import yaml
from prometheus_client.parser import text_string_to_metric_families
from redis_server import RedisServer
from toy_library import ServerProcess, picture

FOLDER = Path(__file__).parent.parent.parent / "examples" / "monitoring"
RULES = yaml.safe_load((FOLDER / "alerts.yaml").read_text())["groups"][0]["rules"]
PANELS = json.loads((FOLDER / "dashboard.json").read_text())["panels"]
EXPRESSIONS = [rule["expr"] for rule in RULES] + [panel["targets"][0]["expr"] for panel in PANELS]
METRIC = re.compile(r"\bsploot_server_\w+")
SELECTOR = re.compile(r'(sploot_server_\w+)\{(\w+)="([^"]+)"\}')

Series = list[tuple[str, dict[str, str]]]


@pytest.fixture
def series(tmp_path: Path, start: Callable[..., ServerProcess], monkeypatch: pytest.MonkeyPatch) -> Series:
    """Return the series of a server on PostgreSQL, Redis and S3 after an upload."""
    for name, value in s3.server().items():
        monkeypatch.setenv(name, value)
    redis = RedisServer(tmp_path)
    try:
        server = start(
            *("--database", postgres.new_database(), "--blobs", s3.new_prefix(), "--events", redis.url),
        )
        with server.client() as client:
            sent = client.post("/api/upload", files={"file": ("a.jpg", picture("a"), "image/jpeg")})
            client.delete(f"/api/assets/{sent.json()['asset']['id']}")  # publishes an event
            return samples(client)
    finally:
        redis.kill()


def samples(client: httpx.Client) -> Series:
    families = text_string_to_metric_families(client.get("/metrics", timeout=30).text)
    return [(each.name, each.labels) for family in families for each in family.samples]


def test_every_metric_that_they_name_exists(series: Series) -> None:
    names = {name for name, _ in series}
    used = {name for expression in EXPRESSIONS for name in METRIC.findall(expression)}
    assert used - names == set()
    for expression in EXPRESSIONS:
        for name, label, value in SELECTOR.findall(expression):
            assert any(each == name and labels[label] == value for each, labels in series), expression


def test_a_server_measures_its_backends(series: Series) -> None:
    measured = {(labels["backend"], labels["operation"]) for name, labels in series if "backend_seconds" in name}
    assert {("s3", "put"), ("s3", "head"), ("redis", "publish")} <= measured
    assert {labels["backend"] for name, labels in series if name.endswith("backend_up")} == {
        *("database", "blobs", "events"),
    }
    pools = {(labels["pool"], labels["state"]) for name, labels in series if name.endswith("database_connections")}
    assert pools == {("statements", "in use"), ("statements", "idle"), ("locks", "in use"), ("locks", "idle")}


def test_every_metric_of_the_server_is_on_the_dashboard(series: Series) -> None:
    shown = " ".join(panel["targets"][0]["expr"] for panel in PANELS)
    families = {re.sub(r"_(bucket|count|sum)$", "", name) for name, _ in series if name.startswith("sploot_server_")}
    assert {family for family in families if family not in shown} <= {"sploot_server_disk_size_bytes"}


def test_prometheus_reads_the_rules() -> None:
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is not installed (Debian: prometheus)")
    checked = subprocess.run([program, "check", "rules", str(FOLDER / "alerts.yaml")], capture_output=True, check=False)
    assert checked.returncode == 0, (checked.stdout + checked.stderr).decode()


def test_every_rule_has_a_severity_and_a_sentence() -> None:
    for rule in RULES:
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert rule["annotations"]["summary"]


def test_panels_do_not_overlap() -> None:
    cells = [
        (panel["gridPos"]["x"] + x, panel["gridPos"]["y"] + y)
        for panel in PANELS
        for x in range(panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells))
