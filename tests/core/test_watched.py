"""Whatever is watched and however it is said, both ends come to agree."""

from hypothesis import given
from hypothesis import strategies as st

from splootd.core.watched import Watched

ids = st.sampled_from("abcdefgh")
steps = st.one_of(
    st.tuples(st.just("add"), st.lists(ids)), st.tuples(st.just("discard"), st.lists(ids)), st.tuples(st.just("say"))
)


@given(st.lists(steps, max_size=60), st.integers(1, 9), st.integers(1, 5))
def test_what_was_said_leads_the_other_end_to_the_same_set(story: list[tuple], ids_max: int, limit: int) -> None:
    watched, there = Watched(ids_max), set[str]()

    def say() -> bool:
        more, fewer = watched.say(limit)
        assert len(more) + len(fewer) <= limit
        assert not there & set(more), "said twice"
        assert set(fewer) <= there, "never said"
        there.update(more)
        there.difference_update(fewer)
        return bool(more or fewer)

    for step in story:
        match step:
            case ("add", some):
                watched.add(some)
            case ("discard", some):
                watched.discard(some)
            case _:
                say()
        assert len(watched) <= ids_max
    while say():
        pass
    assert there == {each for each in "abcdefgh" if each in watched}


def test_the_first_ones_get_the_room_there_is() -> None:
    watched = Watched(2)
    watched.add("abc")
    assert [each for each in "abc" if each in watched] == ["a", "b"]
    watched.discard("a")
    watched.add("c")
    assert [each for each in "abc" if each in watched] == ["b", "c"]


def test_what_was_taken_back_before_it_was_said_is_never_said() -> None:
    watched = Watched(5)
    watched.add("ab")
    watched.discard("a")
    assert watched.say(5) == (["b"], [])


def test_nothing_is_left_when_the_other_end_is_gone() -> None:
    watched = Watched(5)
    watched.add("ab")
    watched.clear()
    assert len(watched) == 0
    assert watched.say(5) == ([], [])
