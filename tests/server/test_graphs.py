"""How fast the models run hangs on one flag of the processor."""

import platform
import subprocess
import sys

import pytest

PROBE = """
import threading
import numpy as np
from sploot_server.reading import Reader

reader = Reader(None, None)
halves = []
thread = threading.Thread(target=lambda: halves.append(np.float32(2e-39) * np.float32(0.5)))
thread.start()
thread.join()
print(float(halves[0]))
"""


@pytest.mark.models
@pytest.mark.skipif(platform.machine() != "x86_64", reason="other processors are not slow with them")
def test_weights_too_small_to_matter_do_not_slow_the_threads_that_read() -> None:
    """With them a processor takes many times as long; threads inherit the flag from the one that opened the models."""
    asked = subprocess.run([sys.executable, "-c", PROBE], check=True, capture_output=True, text=True)
    assert asked.stdout.split() == ["0.0"]
