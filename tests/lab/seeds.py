"""The seed of a run with faults."""

import os
import secrets

VARIABLE = "SPLOOT_FAULTS_SEED"


def seed() -> int:
    """Return the seed from the environment, to replay a run, or a new one."""
    return int(os.environ.get(VARIABLE) or secrets.randbelow(1_000_000))
