"""The number that a run with faults follows from."""

import os
import secrets

VARIABLE = "SPLOOT_FAULTS_SEED"


def seed() -> int:
    """From the environment, to play a run again; else a fresh one."""
    return int(os.environ.get(VARIABLE) or secrets.randbelow(1_000_000))
