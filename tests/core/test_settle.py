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


def test_a_file_rests_the_whole_time_after_its_last_change() -> None:
    settler = Settler(2.0)
    settler.saw(b"/a", version(1), now=0.0, age_s=0.0)
    settler.saw(b"/a", version(2), now=1.5, age_s=0.0)
    assert settler.due(3.4) == []
    assert settler.due(3.5) == [b"/a"]
    assert settler.version(b"/a") == version(2)


def test_being_seen_again_unchanged_does_not_prolong_the_rest() -> None:
    settler = Settler(2.0)
    for now in (0.0, 0.5, 1.0, 1.9):
        settler.saw(b"/a", version(1), now=now, age_s=now)
    assert settler.next_due() == 2.0


@pytest.mark.parametrize("field", ["size", "mtime_ns", "device", "inode"])
def test_any_difference_is_a_change(field: str) -> None:
    settler = Settler(2.0)
    settler.saw(b"/a", version(1), now=0.0, age_s=0.0)
    different = {"size": 1, "mtime_ns": 1, "device": 1, "inode": 1} | {field: 99}
    settler.saw(b"/a", Version(**different), now=1.0, age_s=0.0)
    assert settler.next_due() == 3.0


@given(st.floats(0, 3600), st.floats(-1e9, 1e9), st.floats(0, 1e6))
def test_a_file_that_was_never_seen_counts_by_its_age(settle_s: float, age_s: float, now: float) -> None:
    """An old one is settled at once; one from the future rests the whole time, and no longer."""
    settler = Settler(settle_s)
    settler.saw(b"/a", version(1), now=now, age_s=age_s)
    due = settler.next_due()
    assert due is not None
    assert due == pytest.approx(now + min(settle_s, max(0.0, settle_s - age_s)))


def test_an_age_does_not_shorten_the_rest_of_a_file_that_was_seen_changing() -> None:
    settler = Settler(2.0)
    settler.saw(b"/a", version(1), now=0.0, age_s=0.0)
    settler.saw(b"/a", version(2), now=1.0, age_s=1e6)
    assert settler.next_due() == 3.0


def test_there_is_room_for_so_many_and_it_says_when_there_is_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settle, "UNSETTLED_MAX", 2)
    settler = Settler()
    assert settler.saw(b"/a", version(1), now=0, age_s=0)
    assert settler.saw(b"/b", version(1), now=0, age_s=0)
    assert not settler.saw(b"/c", version(1), now=0, age_s=0)
    assert settler.saw(b"/a", version(2), now=0, age_s=0)
    assert len(settler) == 2
    settler.forget(b"/b")
    assert settler.saw(b"/c", version(1), now=0, age_s=0)


class SettlerAgainstAModel(RuleBasedStateMachine):
    """The model: a path is due when its version has been the same for the settle time, as far as was seen."""

    def __init__(self) -> None:
        super().__init__()
        self.settler = Settler(SETTLE_S)
        self.now = 0.0
        self.changed_at: dict[bytes, float] = {}
        self.versions: dict[bytes, int] = {}

    @rule(step_s=st.sampled_from(STEPS_S))
    def let_time_pass(self, step_s: float) -> None:
        self.now += step_s

    @rule(path=st.sampled_from(PATHS), number=st.integers(1, 2))
    def see(self, path: bytes, number: int) -> None:
        if self.versions.get(path) != number:
            self.versions[path] = number
            self.changed_at[path] = self.now
        assert self.settler.saw(path, version(number), now=self.now, age_s=0.0)

    @rule(path=st.sampled_from(PATHS))
    def forget(self, path: bytes) -> None:
        self.settler.forget(path)
        self.changed_at.pop(path, None)
        self.versions.pop(path, None)

    @invariant()
    def what_has_rested_is_due(self) -> None:
        due = {path for path, at in self.changed_at.items() if at + SETTLE_S <= self.now}
        assert set(self.settler.due(self.now)) == due

    @invariant()
    def it_knows_when_to_look_next(self) -> None:
        expected = min((at + SETTLE_S for at in self.changed_at.values()), default=None)
        assert self.settler.next_due() == expected

    @invariant()
    def it_knows_the_versions(self) -> None:
        assert {path: self.settler.version(path) for path in PATHS} == {
            path: version(self.versions[path]) if path in self.versions else None for path in PATHS
        }


TestSettlerAgainstAModel = SettlerAgainstAModel.TestCase
