"""What the speed of the image worker and its start depend on."""

import platform
import subprocess
import sys

import pytest

PROBE = """
import sys
import threading
import numpy as np
from sploot_server.inference.image_analysis import ImageAnalyzer

analyzer = ImageAnalyzer(None, None)
halves = []
thread = threading.Thread(target=lambda: halves.append(np.float32(2e-39) * np.float32(0.5)))
thread.start()
thread.join()
print(float(halves[0]))
print(sum(name.startswith("PIL.") and name.endswith("ImagePlugin") for name in sys.modules))
"""
FORMATS_MAX = 7  # Pillow brings some fifty, whose import takes longer than opening a model


@pytest.mark.models
def test_denormals_are_zero_in_the_threads_that_analyze_and_unread_formats_are_not_imported() -> None:
    """Threads inherit the flag from the thread that opened the models."""
    probe = subprocess.run([sys.executable, "-c", PROBE], check=True, capture_output=True, text=True)
    half, formats = probe.stdout.split()
    assert half == "0.0" or platform.machine() != "x86_64"  # other processors are not slowed down by denormals
    assert int(formats) <= FORMATS_MAX
