"""Prometheus text exposition format 0.0.4, with metric names by the rules of OpenMetrics.

https://github.com/prometheus/docs, instrumenting/exposition_formats: text based format.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from splootd.metrics.histogram import Histogram

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BUCKET_BOUNDS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)  # the exported buckets

Labels = Mapping[str, str]


@dataclass(slots=True)
class MetricFamily:
    """One metric with all its samples: name suffix, labels and value."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    description: str
    samples: list[tuple[str, Labels, float]] = field(default_factory=list)


def counter(name: str, description: str, samples: Iterable[tuple[Labels, float]]) -> MetricFamily:
    assert name.endswith("_total")
    return MetricFamily(name, "counter", description, [("", labels, value) for labels, value in samples])


def gauge(name: str, description: str, samples: Iterable[tuple[Labels, float]]) -> MetricFamily:
    return MetricFamily(name, "gauge", description, [("", labels, value) for labels, value in samples])


def state_set(name: str, description: str, label: str, *, states: Sequence[str], current: str) -> MetricFamily:
    """Return a gauge per state: 1 for the current state, 0 for all others."""
    return gauge(name, description, [({label: each}, float(each == current)) for each in states])


def histogram(name: str, description: str, histograms: Iterable[tuple[Labels, Histogram]]) -> MetricFamily:
    assert name.endswith("_seconds")
    family = MetricFamily(name, "histogram", description)
    for labels, values in histograms:
        for bound, count in zip(
            (*BUCKET_BOUNDS_S, math.inf), (*values.cumulative_counts(BUCKET_BOUNDS_S), values.count), strict=True
        ):
            family.samples.append(("_bucket", {**labels, "le": _format_number(bound)}, count))
        family.samples += [("_sum", labels, values.sum), ("_count", labels, values.count)]
    return family


def render_text(families: Iterable[MetricFamily]) -> str:
    lines = []
    for family in families:
        lines.append(f"# HELP {family.name} {_escape(family.description)}")
        lines.append(f"# TYPE {family.name} {family.kind}")
        lines += [
            f"{family.name}{ending}{_format_labels(labels)} {_format_number(value)}"
            for ending, labels, value in family.samples
        ]
    return "\n".join([*lines, ""])


def _format_labels(labels: Labels) -> str:
    inner = ",".join(f'{name}="{_escape(value, quotes=True)}"' for name, value in labels.items())
    return f"{{{inner}}}" if inner else ""


def _escape(value: str, *, quotes: bool = False) -> str:
    safe = value.replace("\\", r"\\").replace("\n", r"\n")
    return safe.replace('"', r"\"") if quotes else safe


def _format_number(value: float) -> str:
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if value == int(value) else repr(float(value))
