"""Metrics: counters, histograms and utilization of the daemon, without I/O."""

from splootd.metrics.collector import WINDOW_S, MetricsCollector, Transfer

__all__ = ["WINDOW_S", "MetricsCollector", "Transfer"]
