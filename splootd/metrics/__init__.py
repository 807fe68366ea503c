"""What the daemon measures: values that are told what happened, and do nothing but count it."""

from splootd.metrics.traffic import WINDOW_S, Traffic, Transfer

__all__ = ["WINDOW_S", "Traffic", "Transfer"]
