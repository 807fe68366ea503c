"""Write-settle debounce, by example and against a model."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from splootd.core import settle
from splootd.core.item import Version
from splootd.core.settle import SETTLE_S, Settler

PATHS = [b"/a", b"/b", b"/c"]
STEPS_S = [0.0, 0.5, SETTLE_S - 0.1, SETTLE_S, SETTLE_S + 0.1]


def version(number: int) -> Version:
    return Version(size=number, mtime_ns=number, device=1, inode=1)


def test_each_change_restarts_the_settle_time() -> None:
    settler = Settler(2.0)
    settler.observe(b"/a", version(1), now=0.0, age_s=0.0)
    settler.observe(b"/a", version(2), now=1.5, age_s=0.0)
    assert settler.due(3.4) == []
    assert settler.due(3.5) == [b"/a"]
    assert settler.version(b"/a") == version(2)


def test_an_unchanged_observation_does_not_extend_the_settle_time() -> None:
    settler = Settler(2.0)
    for now in (0.0, 0.5, 1.0, 1.9):
        settler.observe(b"/a", version(1), now=now, age_s=now)
    assert settler.next_due() == 2.0


@pytest.mark.parametrize("field", ["size", "mtime_ns", "device", "inode"])
def test_any_difference_counts_as_a_change(field: str) -> None:
    settler = Settler(2.0)
    settler.observe(b"/a", version(1), now=0.0, age_s=0.0)
    different = {"size": 1, "mtime_ns": 1, "device": 1, "inode": 1} | {field: 99}
    settler.observe(b"/a", Version(**different), now=1.0, age_s=0.0)
    assert settler.next_due() == 3.0


@given(st.floats(0, 3600), st.floats(-1e9, 1e9), st.floats(0, 1e6))
def test_the_age_of_a_new_file_counts_as_settle_time(settle_s: float, age_s: float, now: float) -> None:
    """An old file is settled immediately; one with an mtime in the future settles for the whole time, not longer."""
    settler = Settler(settle_s)
    settler.observe(b"/a", version(1), now=now, age_s=age_s)
    due = settler.next_due()
    assert due is not None
    assert due == pytest.approx(now + min(settle_s, max(0.0, settle_s - age_s)))


def test_the_age_does_not_count_after_an_observed_change() -> None:
    settler = Settler(2.0)
    settler.observe(b"/a", version(1), now=0.0, age_s=0.0)
    settler.observe(b"/a", version(2), now=1.0, age_s=1e6)
    assert settler.next_due() == 3.0


def test_a_full_settler_rejects_new_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settle, "UNSETTLED_MAX", 2)
    settler = Settler()
    assert settler.observe(b"/a", version(1), now=0, age_s=0)
    assert settler.observe(b"/b", version(1), now=0, age_s=0)
    assert not settler.observe(b"/c", version(1), now=0, age_s=0)
    assert settler.observe(b"/a", version(2), now=0, age_s=0)
    assert len(settler) == 2
    settler.forget(b"/b")
    assert settler.observe(b"/c", version(1), now=0, age_s=0)


class SettlerAgainstAModel(RuleBasedStateMachine):
    """In the model a path is due when its observed version has not changed for the settle time."""

    def __init__(self) -> None:
        super().__init__()
        self.settler = Settler(SETTLE_S)
        self.now = 0.0
        self.changed_at: dict[bytes, float] = {}
        self.versions: dict[bytes, int] = {}

    @rule(step_s=st.sampled_from(STEPS_S))
    def advance_time(self, step_s: float) -> None:
        self.now += step_s

    @rule(path=st.sampled_from(PATHS), number=st.integers(1, 2))
    def observe(self, path: bytes, number: int) -> None:
        if self.versions.get(path) != number:
            self.versions[path] = number
            self.changed_at[path] = self.now
        assert self.settler.observe(path, version(number), now=self.now, age_s=0.0)

    @rule(path=st.sampled_from(PATHS))
    def forget(self, path: bytes) -> None:
        self.settler.forget(path)
        self.changed_at.pop(path, None)
        self.versions.pop(path, None)

    @invariant()
    def settled_paths_are_due(self) -> None:
        due = {path for path, at in self.changed_at.items() if at + SETTLE_S <= self.now}
        assert set(self.settler.due(self.now)) == due

    @invariant()
    def the_next_due_time_matches(self) -> None:
        expected = min((at + SETTLE_S for at in self.changed_at.values()), default=None)
        assert self.settler.next_due() == expected

    @invariant()
    def the_versions_match(self) -> None:
        assert {path: self.settler.version(path) for path in PATHS} == {
            path: version(self.versions[path]) if path in self.versions else None for path in PATHS
        }


TestSettlerAgainstAModel = SettlerAgainstAModel.TestCase
