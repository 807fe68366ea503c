"""Hundreds of lives by chance, each with the promise at its end; `python tests/fates.py` runs as many as one likes."""

import os

import fates
import pytest

SEED = int(os.environ.get("SPLOOT_TEST_SEED", "1"))
CHUNK = 50


@pytest.mark.parametrize("chunk", range(4))
def test_whatever_happens_each_content_arrives_once_or_its_item_says_why_not(chunk: int) -> None:
    first = SEED + chunk * CHUNK
    wrong = {seed: text for seed, _, text in map(fates.attempt, range(first, first + CHUNK)) if text}
    assert not wrong, "\n".join(
        f"python tests/fates.py --from {seed} --seeds 1\n{text}" for seed, text in wrong.items()
    )


def test_a_seed_gives_the_same_life_again() -> None:
    assert fates.simulate_one(7) == fates.simulate_one(7)
