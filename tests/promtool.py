"""Prometheus' own check of metrics, where its package is installed."""

import shutil
import subprocess

import pytest


def check(told: str) -> None:
    """Fails with the words of `promtool check metrics`, which parses and then lints: names, units, kinds, help."""
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is not installed (Debian: prometheus)")
    done = subprocess.run([program, "check", "metrics"], input=told.encode(), capture_output=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr).decode()
