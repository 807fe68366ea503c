"""`sploot daemon`: start, stop, restart, run."""

import os

from sploot import exits, start
from sploot.reach import connected, running
from splootd.config import Paths


def start_it() -> int:
    paths = Paths.find(os.environ)
    there = running(paths.socket)
    if there is not None:
        there.close()
        print("The daemon is running already.")
    else:
        connected(paths).close()
        print("The daemon has started.")
    return exits.DONE


def stop_it() -> int:
    print("The daemon has ended." if start.stop(Paths.find(os.environ)) else "The daemon is not running.")
    return exits.DONE


def restart() -> int:
    paths = Paths.find(os.environ)
    start.stop(paths)
    connected(paths).close()
    print("The daemon has begun anew.")
    return exits.DONE


def run() -> int:
    start.become_daemon()
