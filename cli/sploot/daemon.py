"""`sploot daemon`: start, stop, restart, run."""

import os

from sploot import exits, start
from sploot.reach import client
from splootd.config import Paths


def start_it() -> int:
    is_running = start.owner(Paths.find(os.environ)) is not None
    client().answer("GET", "/v1/status")
    print("The daemon is running already." if is_running else "The daemon has started.")
    return exits.DONE


def stop_it() -> int:
    print("The daemon has ended." if start.stop(Paths.find(os.environ)) else "The daemon is not running.")
    return exits.DONE


def restart() -> int:
    start.stop(Paths.find(os.environ))
    client().answer("GET", "/v1/status")
    print("The daemon has begun anew.")
    return exits.DONE


def run() -> int:
    start.become_daemon()
