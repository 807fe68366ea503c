"""Thirty-two random runs. `python tests/simulation_fuzz.py` runs more of them."""

import os

import pytest
import simulation_fuzz

SEED = int(os.environ.get("SPLOOT_TEST_SEED", "1"))
CHUNK = 8


@pytest.mark.parametrize("chunk", range(4))
def test_every_content_is_stored_once_or_its_item_has_an_error_message(chunk: int) -> None:
    first = SEED + chunk * CHUNK
    failures = {seed: text for seed, _, text in map(simulation_fuzz.attempt, range(first, first + CHUNK)) if text}
    assert not failures, "\n".join(
        f"python tests/simulation_fuzz.py --from {seed} --seeds 1\n{text}" for seed, text in failures.items()
    )


def test_a_seed_gives_the_same_run_again() -> None:
    assert simulation_fuzz.simulate_one(7) == simulation_fuzz.simulate_one(7)
