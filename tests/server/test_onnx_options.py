"""The processor flag on which the speed of the models depends."""

import platform
import subprocess
import sys

import pytest

PROBE = """
import threading
import numpy as np
from sploot_server.inference.image_analysis import ImageAnalyzer

analyzer = ImageAnalyzer(None, None)
halves = []
thread = threading.Thread(target=lambda: halves.append(np.float32(2e-39) * np.float32(0.5)))
thread.start()
thread.join()
print(float(halves[0]))
"""


@pytest.mark.models
@pytest.mark.skipif(platform.machine() != "x86_64", reason="other processors are not slowed down by denormals")
def test_denormals_are_zero_in_the_threads_that_analyze() -> None:
    """Threads inherit the flag from the thread that opened the models."""
    probe = subprocess.run([sys.executable, "-c", PROBE], check=True, capture_output=True, text=True)
    assert probe.stdout.split() == ["0.0"]
