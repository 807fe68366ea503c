"""A kill at any moment. Those of every kind of call here, at each single one by `python -m lab kills`."""

import random
from itertools import groupby

import pytest
from lab import kills, strace
from lab.kills import Moment

pytestmark = pytest.mark.skipif(bool(strace.why_not()), reason=strace.why_not())


def some_of_each(moments: list[Moment], count: int, chance: random.Random) -> list[Moment]:
    """So many moments of each name, or all that there are."""
    of_each = [list(group) for _, group in groupby(moments, lambda moment: moment[0])]
    return [moment for group in of_each for moment in chance.sample(group, min(count, len(group)))]


def test_a_kill_at_any_call_takes_nothing_that_the_queue_has_acknowledged(seed: int) -> None:
    moments = some_of_each(kills.moments_of_the_store(), 3, random.Random(seed))
    killed = [moment for moment in moments if kills.kill_the_store(moment)]
    assert len(killed) > len(moments) / 2


def test_a_database_whose_making_was_killed_is_taken_up_again() -> None:
    """Its journal is left: what must be undone before anything can be read is undone, not refused for ever."""
    assert kills.kill_the_store(("unlink", 1))


def test_a_kill_at_any_call_takes_no_upload_that_was_answered(seed: int) -> None:
    moments = some_of_each(kills.moments_of_the_library(), 1, random.Random(seed))
    killed = [moment for moment in moments if kills.kill_the_library(moment)]
    assert len(killed) > len(moments) / 2
