"""The stretch of a long list that is held, against the whole list."""

from hypothesis import given
from hypothesis import strategies as st
from screens import FakeDaemon, row
from sploot.topview.window import Ask, Window

from splootd.protocol import Items, ListItems

HEIGHT = 20
STEPS_MAX = 6  # questions until the screen is full, wherever somebody jumps


def answer(daemon: FakeDaemon, ask: Ask) -> tuple[Items, bool]:
    items = daemon._page(ListItems(state="pending", before=ask.before, limit=ask.limit, after=ask.after))
    return items, (items.before if ask.after is None else items.after) is None


class Reader:
    """Looks at a list through a window, as the screen does."""

    def __init__(self, daemon: FakeDaemon, total: int | None) -> None:
        self.daemon, self.window, self.top = daemon, Window(), 0
        self.window.clear(total)
        self.look(0)

    def look(self, top: int) -> None:
        self.top = min(max(top, 0), max(0, self.window.length - HEIGHT))
        for _ in range(STEPS_MAX):
            ask = self.window.lacking(self.top, HEIGHT)
            if ask is None:
                return
            self.take(ask)
        raise AssertionError(f"still lacking {ask}")

    def take(self, ask: Ask) -> None:
        items, is_complete = answer(self.daemon, ask)
        self.top += self.window.take(ask, items.items, is_complete=is_complete)
        self.top = min(max(self.top, 0), max(0, self.window.length - HEIGHT))

    def seen(self) -> list[int]:
        rows = (self.window.row(self.top + at) for at in range(min(HEIGHT, self.window.length)))
        return [each.id for each in rows if each is not None]


@st.composite
def lists(draw: st.DrawFn) -> FakeDaemon:
    """Lists of which every n-th item, or a stretch, is wanted: row numbers can only be guessed."""
    count = draw(st.sampled_from([0, 1, HEIGHT, 199, 200, 201, 1_000]))
    gaps = draw(st.lists(st.sampled_from([1, 1, 1, 2, 50, 3_000]), min_size=4, max_size=4))
    numbers, number = [], 0
    for at in range(count):
        number += gaps[at * len(gaps) // count]
        numbers.append(number)
    return FakeDaemon([row(each) for each in numbers])


@given(
    daemon=lists(),
    is_counted=st.booleans(),
    jumps=st.lists(st.one_of(st.integers(0, 1_100), st.sampled_from([0, 10**6]), st.integers(-40, 40)), max_size=12),
)
def test_wherever_somebody_looks_the_rows_are_those_of_the_list(
    daemon: FakeDaemon, is_counted: bool, jumps: list[int]
) -> None:
    whole = [each.id for each in reversed(daemon.rows)]
    reader = Reader(daemon, len(whole) if is_counted else None)
    for jump in jumps:
        reader.look(reader.top + jump if abs(jump) <= 40 else jump)
        seen = reader.seen()
        assert len(seen) == min(HEIGHT, len(whole))
        at = whole.index(seen[0]) if seen else 0
        assert seen == whole[at : at + len(seen)]
        if reader.top == 0:
            assert at == 0
        if jump == 10**6 and is_counted:
            assert at == max(0, len(whole) - HEIGHT)
    assert len(reader.window.rows) <= 200


@given(start=st.integers(0, 780), gap=st.sampled_from([1, 7]))
def test_step_by_step_no_row_is_left_out_or_seen_twice(start: int, gap: int) -> None:
    daemon = FakeDaemon([row(1 + gap * at) for at in range(800)])
    whole = [each.id for each in reversed(daemon.rows)]
    reader = Reader(daemon, 800)
    reader.look(start)
    first = whole.index(reader.seen()[0])
    for step in range(1, 30):
        reader.look(reader.top + HEIGHT)
        expected = min(first + step * HEIGHT, 800 - HEIGHT)
        assert reader.seen() == whole[expected : expected + HEIGHT]


def test_a_dense_list_is_numbered_exactly_everywhere() -> None:
    reader = Reader(FakeDaemon([row(1 + at) for at in range(3_000)]), 3_000)
    reader.look(1_700)
    assert (reader.top, reader.seen()[0]) == (1_700, 3_000 - 1_700)


def test_upwards_the_numbers_are_exact_too() -> None:
    reader = Reader(FakeDaemon([row(1 + at) for at in range(3_000)]), 3_000)
    reader.look(10**6)
    while reader.top > 0:
        assert reader.seen()[0] == 3_000 - reader.top
        reader.look(reader.top - HEIGHT)
    assert reader.seen()[0] == 3_000


def test_what_is_looked_at_stays_in_sight_when_many_newer_ones_come() -> None:
    daemon = FakeDaemon([row(1 + at) for at in range(1_000)])
    reader = Reader(daemon, 1_000)
    reader.look(3)
    before = reader.seen()
    daemon.rows += [row(1_001 + at) for at in range(500)]
    reader.take(reader.window.again(is_following=False, height=HEIGHT))
    reader.look(reader.top)
    assert reader.seen() == before
    for _ in range(60):
        reader.look(reader.top - HEIGHT)
    assert reader.seen()[0] == 1_500


def test_reading_again_keeps_the_stretch_and_following_shows_the_newest() -> None:
    daemon = FakeDaemon([row(1 + at) for at in range(1_000)])
    reader = Reader(daemon, 1_000)
    reader.look(500)
    before = reader.seen()
    daemon.rows += [row(1_001 + at) for at in range(300)]
    reader.take(reader.window.again(is_following=False, height=HEIGHT))
    assert reader.seen() == before
    reader.take(reader.window.again(is_following=True, height=HEIGHT))
    reader.look(0)
    assert reader.seen()[0] == 1_300


def test_when_the_list_grows_while_its_end_is_looked_at_the_numbers_follow() -> None:
    daemon = FakeDaemon([row(1 + at) for at in range(1_000)])
    reader = Reader(daemon, 1_000)
    reader.look(10**6)
    assert reader.top == 980
    daemon.rows += [row(1_001 + at) for at in range(50)]
    assert reader.window.count(1_050) == 50
    assert reader.window.row(1_049) == daemon.rows[0]
