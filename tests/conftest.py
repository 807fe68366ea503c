"""What holds for all tests."""

import signal
import threading


def pytest_configure() -> None:
    """Let Ctrl-C reach the programs under test also where this run was started in the background, with it ignored."""
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
