"""Client and server converge to the same set of subscriptions."""

from hypothesis import given
from hypothesis import strategies as st

from splootd.core.subscription_set import SubscriptionSet

ids = st.sampled_from("abcdefgh")
steps = st.one_of(
    st.tuples(st.just("add"), st.lists(ids)), st.tuples(st.just("discard"), st.lists(ids)), st.tuples(st.just("send"))
)


@given(st.lists(steps, max_size=60), st.integers(1, 9), st.integers(1, 5))
def test_sent_changes_give_the_server_the_same_set(steps_taken: list[tuple], ids_max: int, limit: int) -> None:
    subscriptions, server_set = SubscriptionSet(ids_max), set[str]()

    def send() -> bool:
        added, removed = subscriptions.pending_changes(limit)
        assert len(added) + len(removed) <= limit
        assert not server_set & set(added), "subscribed twice"
        assert set(removed) <= server_set, "never subscribed"
        server_set.update(added)
        server_set.difference_update(removed)
        return bool(added or removed)

    for step in steps_taken:
        match step:
            case ("add", some):
                subscriptions.add(some)
            case ("discard", some):
                subscriptions.discard(some)
            case _:
                send()
        assert len(subscriptions) <= ids_max
    while send():
        pass
    assert server_set == {each for each in "abcdefgh" if each in subscriptions}


def test_a_full_set_keeps_the_first_ids() -> None:
    subscriptions = SubscriptionSet(2)
    subscriptions.add("abc")
    assert [each for each in "abc" if each in subscriptions] == ["a", "b"]
    subscriptions.discard("a")
    subscriptions.add("c")
    assert [each for each in "abc" if each in subscriptions] == ["b", "c"]


def test_opposite_unsent_changes_cancel_out() -> None:
    subscriptions = SubscriptionSet(5)
    subscriptions.add("ab")
    subscriptions.discard("a")
    assert subscriptions.pending_changes(5) == (["b"], [])


def test_clear_removes_ids_and_unsent_changes() -> None:
    subscriptions = SubscriptionSet(5)
    subscriptions.add("ab")
    subscriptions.clear()
    assert len(subscriptions) == 0
    assert subscriptions.pending_changes(5) == ([], [])
