"""Metrics as Prometheus reads them: the text format 0.0.4, with names by the rules of OpenMetrics.

https://github.com/prometheus/docs, instrumenting/exposition_formats: text based format.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from splootd.metrics.histogram import Histogram

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SHOWN_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)  # the buckets that are told

Labels = Mapping[str, str]


@dataclass(slots=True)
class Family:
    """One metric with all its samples: the ending of the name, the labels, the value."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    about: str
    samples: list[tuple[str, Labels, float]] = field(default_factory=list)


def counter(name: str, about: str, samples: Iterable[tuple[Labels, float]]) -> Family:
    assert name.endswith("_total")
    return Family(name, "counter", about, [("", labels, value) for labels, value in samples])


def gauge(name: str, about: str, samples: Iterable[tuple[Labels, float]]) -> Family:
    return Family(name, "gauge", about, [("", labels, value) for labels, value in samples])


def choice(name: str, about: str, label: str, *, of: Sequence[str], now: str) -> Family:
    """A gauge for something that is one of few: 1 for what it is, 0 for all others."""
    return gauge(name, about, [({label: each}, float(each == now)) for each in of])


def histogram(name: str, about: str, histograms: Iterable[tuple[Labels, Histogram]]) -> Family:
    assert name.endswith("_seconds")
    family = Family(name, "histogram", about)
    for labels, of in histograms:
        for bound, count in zip((*SHOWN_S, math.inf), (*of.at_most(SHOWN_S), of.count), strict=True):
            family.samples.append(("_bucket", {**labels, "le": _number(bound)}, count))
        family.samples += [("_sum", labels, of.sum), ("_count", labels, of.count)]
    return family


def text(families: Iterable[Family]) -> str:
    lines = []
    for family in families:
        lines.append(f"# HELP {family.name} {_escaped(family.about)}")
        lines.append(f"# TYPE {family.name} {family.kind}")
        lines += [
            f"{family.name}{ending}{_labels(labels)} {_number(value)}" for ending, labels, value in family.samples
        ]
    return "\n".join([*lines, ""])


def _labels(labels: Labels) -> str:
    inner = ",".join(f'{name}="{_escaped(value, quotes=True)}"' for name, value in labels.items())
    return f"{{{inner}}}" if inner else ""


def _escaped(words: str, *, quotes: bool = False) -> str:
    safe = words.replace("\\", r"\\").replace("\n", r"\n")
    return safe.replace('"', r"\"") if quotes else safe


def _number(value: float) -> str:
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if value == int(value) else repr(float(value))
