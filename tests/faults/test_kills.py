"""A kill at any system call. This tests some of each kind; `python -m lab kills` tests every single one."""

import random
from itertools import groupby

import pytest
from lab import kills, strace
from lab.kills import Moment

pytestmark = pytest.mark.skipif(bool(strace.why_not()), reason=strace.why_not())


def some_of_each(moments: list[Moment], count: int, chance: random.Random) -> list[Moment]:
    """Return `count` moments of each system call, or all of them."""
    of_each = [list(group) for _, group in groupby(moments, lambda moment: moment[0])]
    return [moment for group in of_each for moment in chance.sample(group, min(count, len(group)))]


def test_a_kill_at_any_call_loses_no_acknowledged_write_of_the_queue(seed: int) -> None:
    moments = some_of_each(kills.moments_of_the_store(), 3, random.Random(seed))
    killed = [moment for moment in moments if kills.kill_the_store(moment)]
    assert len(killed) > len(moments) / 2


def test_a_database_whose_creation_was_killed_can_be_opened() -> None:
    """The kill leaves a rollback journal, which must be rolled back before the first read."""
    assert kills.kill_the_store(("unlink", 1))


def test_a_kill_at_any_call_loses_no_acknowledged_upload(seed: int) -> None:
    moments = some_of_each(kills.moments_of_the_library(), 1, random.Random(seed))
    killed = [moment for moment in moments if kills.kill_the_library(moment)]
    assert len(killed) > len(moments) / 2
