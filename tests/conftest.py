"""What holds for all tests, and the store of the daemon, which many of them open."""

import ctypes
import signal
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from store_fixtures import Store, open_store

LIBM = ctypes.CDLL(None)
FLOAT_ENVIRONMENT = ctypes.create_string_buffer(64)  # fenv_t has 32 bytes
LIBM.fegetenv(FLOAT_ENVIRONMENT)

# How busy the machine is proves nothing.
settings.register_profile("patient", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


def pytest_configure() -> None:
    """Let Ctrl-C reach the programs under test also where this run was started in the background, with it ignored."""
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def float_environment() -> Iterator[None]:
    """Restore the processor's flags: a model that a test loads lets its thread treat denormals as zero from then on."""
    yield
    LIBM.fesetenv(FLOAT_ENVIRONMENT)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with open_store(tmp_path / "queue.db") as store:
        yield store
