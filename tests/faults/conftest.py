import pytest
from lab import seeds


@pytest.fixture
def seed() -> int:
    """Return the seed of this run. It is printed, so that a failure can be replayed."""
    number = seeds.seed()
    print(f"{seeds.VARIABLE}={number} replays this run")
    return number
