import pytest
from lab import seeds


@pytest.fixture
def seed() -> int:
    """What this run follows from; printed, so that a failure can be played again."""
    number = seeds.seed()
    print(f"{seeds.VARIABLE}={number} plays this again")
    return number
